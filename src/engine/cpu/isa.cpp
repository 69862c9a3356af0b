// The instruction sets: one table {name, what the machine must have, kernels}, walked by everything else.
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "engine/cpu/cpu.h"
#include "engine/cpu/driver.h"

namespace nearfield::core {
namespace {

bool always() { return true; }
bool has_avx2() {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#else
  return false;
#endif
}
// Like the others this asks CPUID for the instructions and XGETBV for the registers.
bool has_avx512() {
#if defined(__x86_64__) || defined(__i386__)
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

struct IsaEntry {
  Isa isa;
  const char* name;
  bool is_offered;      // false: runs only where it is asked for
  const char* missing;  // said where the machine can't run it
  bool (*supported)();
  const KernelTable<float>* (*float_kernels)();
  const KernelTable<double>* (*double_kernels)();
};

// From the plainest to the fastest. AMX gets its row here.
constexpr IsaEntry kIsas[] = {
    {Isa::portable, "portable", true, "", always, portable_float_kernels, portable_double_kernels},
    {Isa::avx2, "avx2", true, "this CPU or build lacks AVX2, FMA or F16C", has_avx2, avx2_float_kernels,
     avx2_double_kernels},
    {Isa::avx512, "avx512", true, "this CPU or build lacks AVX-512 (F, BW, DQ, VL)", has_avx512, avx512_float_kernels,
     avx512_double_kernels},
    {Isa::neon, "neon", true, "this build is not for 64-bit Arm", always, neon_float_kernels, neon_double_kernels},
    {Isa::portable16, "portable16", false, "this build is without tests, which it is for", always,
     portable16_float_kernels, portable16_double_kernels},
};

const IsaEntry* find(Isa isa) {
  for (const IsaEntry& entry : kIsas)
    if (entry.isa == isa) return &entry;
  return nullptr;
}

bool available(const IsaEntry& entry) { return entry.float_kernels() != nullptr && entry.supported(); }

template <class T>
double multiply_add_peak(const KernelTable<T>& kernels, double seconds) {
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  // The best of short samples: a neighbour on the machine can only make one slower.
  constexpr int64_t kRounds = 200000;
  double best = 0;
  const double until = now() + seconds;
  do {
    const double start = now();
    const int64_t done = kernels.multiply_adds(kRounds);
    const double rate = 2.0 * static_cast<double>(done) / (now() - start);
    best = rate > best ? rate : best;
  } while (now() < until);
  return best * 1e-9;
}

}  // namespace

template <>
const KernelTable<float>& kernels_of<float>(Isa isa) {
  return *find(isa)->float_kernels();
}
template <>
const KernelTable<double>& kernels_of<double>(Isa isa) {
  return *find(isa)->double_kernels();
}

const char* isa_name(Isa isa) {
  if (isa == Isa::automatic) return "auto";
  const IsaEntry* entry = find(isa);
  return entry == nullptr ? nullptr : entry->name;
}

std::string isa_values() {
  std::string values = "0 (auto)";
  for (const IsaEntry& entry : kIsas) {
    values += &entry == std::end(kIsas) - 1 ? " or " : ", ";
    values += std::to_string(static_cast<int32_t>(entry.isa)) + " (" + entry.name + ")";
  }
  return values;
}

const char* isa_unavailable(Isa isa) {
  if (isa == Isa::automatic) return nullptr;
  const IsaEntry* entry = find(isa);
  if (entry == nullptr) return "there is no such instruction set";
  return available(*entry) ? nullptr : entry->missing;
}

Isa select_isa() {
  const char* wanted = std::getenv("NEARFIELD_ISA");
  if (wanted == nullptr || *wanted == '\0' || std::strcmp(wanted, "auto") == 0) {
    Isa best = Isa::portable;
    for (const IsaEntry& entry : kIsas)
      if (entry.is_offered && available(entry)) best = entry.isa;
    return best;
  }
  std::string names = "auto";
  for (const IsaEntry& entry : kIsas) {
    names += std::string(", ") + entry.name;
    if (std::strcmp(wanted, entry.name) != 0) continue;
    if (!available(entry)) unsupported("NEARFIELD_ISA=", wanted, ": ", entry.missing);
    return entry.isa;
  }
  invalid_argument("NEARFIELD_ISA=", wanted, ": must be one of ", names);
}

const char* cpu_model() {
  static const std::string model = [] {
    std::ifstream file("/proc/cpuinfo");
    std::string line;
    while (std::getline(file, line)) {
      const size_t colon = line.find(':');
      if (colon == std::string::npos || line.compare(0, 10, "model name") != 0) continue;
      const size_t first = line.find_first_not_of(" \t", colon + 1);
      return first == std::string::npos ? std::string("unknown") : line.substr(first);
    }
    return std::string("unknown");
  }();
  return model.c_str();
}

double measure_peak(Isa isa, DType dtype, double seconds) {
  return dtype == DType::float64 ? multiply_add_peak(kernels_of<double>(isa), seconds)
                                 : multiply_add_peak(kernels_of<float>(isa), seconds);
}

}  // namespace nearfield::core
