#include "bench_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "bench_data.h"
#include "commands.h"

namespace nearfield::cli {
namespace {

constexpr double kPeakSeconds = 0.3;

}  // namespace

double Peaks::gflops(int32_t isa) {
  if (isa == NF_ISA_AUTO) isa = nf_selected_isa();
  auto [entry, is_new] = measured_.try_emplace(isa, 0.0);
  if (is_new) detail::check(nf_measure_peak(isa, dtype_, kPeakSeconds, &entry->second));
  return entry->second;
}

BenchMachine describe_machine(int32_t wanted, Peaks& peaks) {
  const int32_t isa = wanted == NF_ISA_AUTO ? nf_selected_isa() : wanted;
  if (isa == NF_ISA_AUTO) throw Failure(nf_last_error());
  if (const char* why = nf_isa_unavailable(isa)) throw Failure(fmt::format("isa={}: {}", nf_isa_name(isa), why));
  BenchMachine machine;
  machine.cpu = nf_cpu_model();
  machine.version = nf_version();
  machine.isa = nf_isa_name(isa);
  machine.default_threads = nf_default_num_threads();
  machine.peak_dtype = nf_dtype_name(peaks.dtype());
  machine.peak_gflops = peaks.gflops(isa);
  return machine;
}

std::string memory_refusal(int64_t bytes) {
  const std::optional<int64_t> available = available_memory();
  // A tenth, 256 MB at most, stays for the library's workspace and everybody else.
  if (!available || bytes <= *available - std::min(*available / 10, int64_t{256} << 20)) return "";
  return fmt::format("REFUSED: its tensors take {} MB, and {} MB of memory are available", bytes >> 20,
                     *available >> 20);
}

}  // namespace nearfield::cli
