// nearfield info: this machine, and what the library can do on it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "nearfield/cuda.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVariables[] = {"NEARFIELD_CUDA_LIBRARY", "NEARFIELD_ISA", "NEARFIELD_NUM_THREADS"};

struct Item {
  std::string name;
  std::string obstacle;  // empty: available
};

// All but "auto", which is value 0.
std::vector<Item> items_of(const char* (*name_at)(int32_t), const char* (*obstacle_at)(int32_t)) {
  std::vector<Item> items;
  for (int32_t i = 1; name_at(i) != nullptr; ++i)
    items.push_back({name_at(i), obstacle_at(i) == nullptr ? "" : obstacle_at(i)});
  return items;
}

struct Gpu {
  std::string name;
  int32_t major = 0, minor = 0;  // compute capability
};

std::vector<Gpu> gpus() {
  std::vector<Gpu> all;
  for (int32_t i = 0; i < nf_cuda_device_count(); ++i) {
    char name[256];
    Gpu& gpu = all.emplace_back();
    if (nf_cuda_device(i, name, sizeof name, &gpu.major, &gpu.minor) == NF_OK) gpu.name = name;
  }
  return all;
}

struct Machine {
  std::vector<Item> isas = items_of(nf_isa_name, nf_isa_unavailable);
  std::vector<Item> engines = items_of(nf_engine_name, nf_engine_unavailable);
  std::string selected;      // the instruction set; empty if there is an obstacle
  std::string isa_obstacle;  // NEARFIELD_ISA names one that cannot run
  std::string cuda_obstacle = nf_cuda_unavailable() == nullptr ? "" : nf_cuda_unavailable();
  std::vector<Gpu> devices = gpus();

  Machine() {
    try {
      selected = name(selected_isa());
    } catch (const Error& error) {
      isa_obstacle = error.what();
    }
  }
};

void print_items(const char* title, const std::vector<Item>& items, const std::string& selected) {
  for (size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const char* state = !item.obstacle.empty()  ? "absent: "
                        : item.name == selected ? "available, selected"
                                                : "available";
    fmt::print("{:<17} {:<10} {}{}\n", i == 0 ? title : "", item.name, state, item.obstacle);
  }
}

void print_text(const Machine& machine) {
  fmt::print("{:<17} {}\n", "nearfield", version());
  fmt::print("{:<17} {}\n", "cpu", cpu_model());
  fmt::print("{:<17} {}\n", "threads", default_num_threads());
  print_items("instruction sets", machine.isas, machine.selected);
  if (!machine.isa_obstacle.empty()) fmt::print("{:<17} {:<10} {}\n", "", "none", machine.isa_obstacle);
  print_items("engines", machine.engines, "");
  if (!machine.cuda_obstacle.empty()) fmt::print("{:<17} absent: {}\n", "cuda", machine.cuda_obstacle);
  for (const Gpu& gpu : machine.devices)
    fmt::print("{:<17} {}, compute capability {}.{}\n", "cuda", gpu.name, gpu.major, gpu.minor);
  for (const char* variable : kVariables)
    if (const char* value = std::getenv(variable)) fmt::print("{:<17} {}={}\n", "environment", variable, value);
}

Json items_json(const std::vector<Item>& items) {
  Json list = Json::array();
  for (const Item& item : items)
    list.push_back({{"name", item.name},
                    {"available", item.obstacle.empty()},
                    {"reason", item.obstacle.empty() ? Json(nullptr) : Json(item.obstacle)}});
  return list;
}

Json gpus_json(const std::vector<Gpu>& gpus) {
  Json list = Json::array();
  for (const Gpu& gpu : gpus)
    list.push_back({{"name", gpu.name}, {"compute_capability", fmt::format("{}.{}", gpu.major, gpu.minor)}});
  return list;
}

void print_json(const Machine& machine) {
  Json environment = Json::object();
  for (const char* variable : kVariables)
    if (const char* value = std::getenv(variable)) environment[variable] = value;
  const Json json = {
      {"version", version()},
      {"cpu", cpu_model()},
      {"num_threads", default_num_threads()},
      {"isas", items_json(machine.isas)},
      {"selected_isa", machine.selected.empty() ? Json(nullptr) : Json(machine.selected)},
      {"isa_error", machine.isa_obstacle.empty() ? Json(nullptr) : Json(machine.isa_obstacle)},
      {"engines", items_json(machine.engines)},
      {"cuda",
       {{"available", machine.cuda_obstacle.empty()},
        {"reason", machine.cuda_obstacle.empty() ? Json(nullptr) : Json(machine.cuda_obstacle)},
        {"devices", gpus_json(machine.devices)}}},
      {"environment", environment},
  };
  // An environment variable may hold any bytes.
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

void add_info(CLI::App& app) {
  CLI::App* command = app.add_subcommand("info", "This machine: instruction sets, engines, and why one is absent");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print JSON");
  command->footer("Examples:\n  nearfield info\n  NEARFIELD_ISA=portable nearfield info --json\n");
  command->callback([json] { *json ? print_json(Machine()) : print_text(Machine()); });
}

}  // namespace nearfield::cli
