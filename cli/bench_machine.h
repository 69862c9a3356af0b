// What a benchmark runs on: the machine's description and its measured peak.
#pragma once

#include <map>
#include <string>

#include "bench_report.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

// One thread's peak for tensors of a dtype, measured once for each instruction set.
class Peaks {
 public:
  // 16-bit tensors are computed in float32.
  explicit Peaks(nf_dtype dtype) : dtype_(dtype == NF_FLOAT64 ? NF_FLOAT64 : NF_FLOAT32) {}
  nf_dtype dtype() const { return dtype_; }
  double gflops(int32_t isa);  // NF_ISA_AUTO: of the one selected

 private:
  nf_dtype dtype_;
  std::map<int32_t, double> measured_;
};

// Failure if the instruction set that is asked for cannot run here.
BenchMachine describe_machine(int32_t isa, Peaks& peaks);

// "" or why a case whose tensors take `bytes` does not fit into memory.
std::string memory_refusal(int64_t bytes);

}  // namespace nearfield::cli
