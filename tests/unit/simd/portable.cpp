#include "engine/cpu/simd/portable.h"

#include "operations.inl"

namespace nearfield::core {

const SimdOperations<float>* portable_float_operations(int which) {
  static constexpr SimdOperations<float> tables[] = {
      Operate<portable::F32>::table("portable::F32"),
      Operate<portable::Vector<float, 8>>::table("portable::Vector<float, 8>"),
      Operate<portable::Vector<float, 16>>::table("portable::Vector<float, 16>")};
  return which < 3 ? &tables[which] : nullptr;
}
const SimdOperations<double>* portable_double_operations(int which) {
  static constexpr SimdOperations<double> tables[] = {
      Operate<portable::F64>::table("portable::F64"),
      Operate<portable::Vector<double, 4>>::table("portable::Vector<double, 4>"),
      Operate<portable::Vector<double, 8>>::table("portable::Vector<double, 8>")};
  return which < 3 ? &tables[which] : nullptr;
}

}  // namespace nearfield::core
