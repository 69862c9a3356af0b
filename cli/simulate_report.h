// What `nearfield simulate` found: for people, as JSON and as CSV.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "simulate_sweep.h"

namespace nearfield::cli {

void print_simulated(const Simulated& simulated, bool timed);
// The first rows of the sweep; all are in JSON and CSV.
void print_sweep(const Sweep& sweep, bool timed);

std::string to_json(const Simulated& simulated, bool timed);
std::string to_json(const Sweep& sweep, bool timed);
// A line of names and one for each.
std::string to_csv(const std::vector<Simulated>& all, bool timed);

}  // namespace nearfield::cli
