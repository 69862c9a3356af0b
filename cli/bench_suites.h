// `nearfield bench --suite NAME`: measurements that belong together, with a report of their own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench_report.h"
#include "bench_time.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

struct SuiteSettings {
  nf_dtype dtype = NF_FLOAT32;
  Options options;  // one number of threads
  TimingBudget budget;
  bool full = false;  // more sizes
  std::string plot;   // of fna: where a picture goes; empty: none
  SuiteFormat format = SuiteFormat::table;
};

std::vector<std::string> suite_names();

// Measures and prints. False if something failed; no such name: an error.
bool run_named_suite(std::string_view name, const SuiteSettings& settings);

}  // namespace nearfield::cli
