// The CPU engine's entry: which kernel, and its run.
#include "engine/cpu/cpu.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "engine/cpu/driver.h"
#include "engine/cpu/first_sums.h"
#include "engine/cpu/gradients.h"
#include "engine/cpu/modifiers.h"
#include "engine/cpu/rates.h"
#include "engine/cpu/workspace.h"

namespace nearfield::core {
namespace {

const char* kernel_name(CpuKernel kernel) { return kernel == CpuKernel::band ? "band" : "tile"; }

// Reading each input once and writing each output once takes at least this.
double memory_seconds(const Problem& problem, Isa isa) {
  const Shape& s = problem.shape;
  const auto tokens = static_cast<double>(s.batch * s.tokens());
  const auto channels = static_cast<double>((s.heads + s.heads_kv) * (s.head_dim + s.head_dim_v));
  return tokens * channels * static_cast<double>(size_of(problem.query.dtype)) / cpu_rates(isa).bytes_per_second;
}

std::string describe(const CpuChoice& chosen, const CpuChoice* other, bool forced) {
  const auto milliseconds = [](const CpuChoice& choice) { return choice.predicted_seconds * 1e3; };
  std::string text = concat(kernel_name(chosen.kernel), " kernel on ", isa_name(chosen.isa), ", waste ",
                            chosen.executed.waste(), ": ");
  if (forced) {
    text += "asked for";
  } else if (other == nullptr) {
    text += "the window's key lines are too large for the band kernel";
  } else {
    text += concat("predicted ", milliseconds(chosen), " ms a head on one thread against ", milliseconds(*other),
                   " ms of the ", kernel_name(other->kernel), " kernel, whose waste is ", other->executed.waste());
  }
  if (chosen.wanted.any())
    text += concat("; one pass over the pairs, ", chosen.kernel == CpuKernel::band ? "strips" : "slabs",
                   " of queries that share no key side by side");
  if (chosen.adds_in_turn)
    text += "; bias or additional keys are many: their gradients let one task of a head run at a time";
  return text;
}

// Along an order the tile kernel adds to gradients of keys that share few cache lines and pages.
constexpr double kTileBackwardAlongOrder = 3.1;

// All that a choice depends on, for one (batch, head) on one thread.
struct ChoiceKey {
  Pattern pattern;  // its rules: where tokens lie does not matter
  bool has_order = false;
  int64_t heads = 0, heads_kv = 0, head_dim = 0, head_dim_v = 0;  // heads: for the workspace only
  DType dtype = DType::float32;
  int64_t additional = 0;
  bool has_bias = false, has_weights = false, has_softcap = false;
  GradientsWanted wanted;
  Isa isa = Isa::portable;
  CpuKernel kernel = CpuKernel::automatic;
  bool operator==(const ChoiceKey&) const = default;
};

// Where keys are arcs: the band kernel is asked for as far as it can.
CpuChoice choose_on_arcs(const Problem& problem, Isa isa, CpuKernel kernel, const GradientsWanted& wanted) {
  CpuChoice choice;
  choice.isa = isa;
  choice.wanted = wanted;
  tile_choose(problem, choice);
  if (wanted.any()) choice.predicted_seconds *= kTileBackward;
  const double by_tile = choice.predicted_seconds;
  const int64_t by_band = kernel == CpuKernel::tile ? 0 : share_latitudes(problem, kernel, choice);
  if (kernel == CpuKernel::band && by_band == 0)
    unsupported("kernel=band: the arcs of every latitude are too large for it; kernel=tile can run this");
  choice.reason = concat(kernel_name(choice.kernel), " kernel on ", isa_name(isa));
  const int64_t latitudes = problem.shape.grid[0];
  if (by_band > 0 && by_band < latitudes)
    choice.reason += concat(" for ", by_band, " of ", latitudes, " latitudes, tile kernel for those with wide arcs");
  choice.reason += concat(", waste ", choice.executed.waste(), ": ");
  choice.reason += kernel != CpuKernel::automatic
                       ? std::string("asked for")
                       : concat("predicted ", choice.predicted_seconds * 1e3, " ms a head on one thread against ",
                                by_tile * 1e3, " ms of the tile kernel alone");
  return choice;
}

CpuChoice choose_for_one_head(const Problem& problem, Isa isa, CpuKernel kernel, const GradientsWanted& wanted) {
  if (problem.pattern.has_arcs()) return choose_on_arcs(problem, isa, kernel, wanted);
  CpuChoice band, tile;
  band.wanted = tile.wanted = wanted;
  band.isa = tile.isa = isa;
  band.kernel = CpuKernel::band;
  tile.kernel = CpuKernel::tile;
  const bool can_band = kernel != CpuKernel::tile && band_choose(problem, band);
  if (kernel == CpuKernel::band && !can_band)
    unsupported("kernel=band: the window's key lines are too large for it; kernel=tile can run this");
  if (kernel != CpuKernel::band) tile_choose(problem, tile);
  if (wanted.any()) {
    band.predicted_seconds *= kBandBackward;
    tile.predicted_seconds *= problem.pattern.order ? kTileBackwardAlongOrder : kTileBackward;
  }
  const bool use_band = can_band && (kernel == CpuKernel::band || band.predicted_seconds <= tile.predicted_seconds);
  CpuChoice& chosen = use_band ? band : tile;
  const CpuChoice* other = can_band && kernel == CpuKernel::automatic ? (use_band ? &tile : &band) : nullptr;
  chosen.reason = describe(chosen, other, kernel != CpuKernel::automatic);
  return chosen;
}

// Scoring every tile shape can cost more than attending over a small grid: the latest choices are kept.
class ChoiceCache {
 public:
  bool find(const ChoiceKey& key, CpuChoice& choice) {
    const std::lock_guard lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (!(entry->first == key)) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      choice = entries_.front().second;
      return true;
    }
    return false;
  }
  void keep(const ChoiceKey& key, const CpuChoice& choice) {
    const std::lock_guard lock(mutex_);
    entries_.emplace_front(key, choice);
    if (entries_.size() > kMostEntries) entries_.pop_back();
  }

 private:
  static constexpr size_t kMostEntries = 64;
  std::mutex mutex_;
  std::list<std::pair<ChoiceKey, CpuChoice>> entries_;  // the latest used first
};

CpuChoice cached_choice(const Problem& problem, Isa isa, CpuKernel kernel, const GradientsWanted& wanted) {
  static auto& cache = *new ChoiceCache;  // never destroyed: threads of the host may outlive exit
  const ChoiceKey key = {.pattern = problem.pattern.without_order(),
                         .has_order = problem.pattern.order != nullptr,
                         .heads = problem.shape.heads,
                         .heads_kv = problem.shape.heads_kv,
                         .head_dim = problem.shape.head_dim,
                         .head_dim_v = problem.shape.head_dim_v,
                         .dtype = problem.query.dtype,
                         .additional = problem.shape.additional,
                         .has_bias = is_given(problem.modifiers.bias),
                         .has_weights = has_key_weights(problem),
                         .has_softcap = problem.modifiers.softcap != 0,
                         .wanted = wanted,
                         .isa = isa,
                         .kernel = kernel};
  CpuChoice choice;
  if (cache.find(key, choice)) return choice;
  choice = choose_for_one_head(problem, isa, kernel, wanted);
  if (wanted.key || wanted.value) share_first_sums(problem, choice.parts);
  cache.keep(key, choice);
  return choice;
}

}  // namespace

std::vector<int64_t> cut_by_cost(const std::vector<double>& costs, int64_t pieces) {
  double total = 0;
  for (double cost : costs) total += cost;
  std::vector<int64_t> cuts = {0};
  double so_far = 0;
  for (size_t i = 0; i < costs.size(); ++i) {
    so_far += costs[i];
    const bool full = so_far * static_cast<double>(pieces) >= total * static_cast<double>(cuts.size());
    if (full || i + 1 == costs.size()) cuts.push_back(static_cast<int64_t>(i) + 1);
  }
  return cuts;
}

namespace {

template <class T>
size_t shared_workspace(const Problem& problem, const GradientsWanted& wanted) {
  Arena arena(nullptr);
  const SharedModifiers<T> modifiers(arena, problem, wanted.key_weights);
  if (wanted.any()) SharedGradients<T>(arena, problem, wanted, modifiers.bias_head);
  return arena.used();
}

}  // namespace

CpuChoice cpu_choose(const Problem& problem, Isa isa, CpuKernel kernel, const GradientsWanted& wanted) {
  if (isa == Isa::automatic) isa = select_isa();
  if (const char* why = isa_unavailable(isa)) unsupported("isa=", isa_name(isa), ": ", why);
  CpuChoice chosen = cached_choice(problem, isa, kernel, wanted);
  const Shape& s = problem.shape;
  const int64_t most = std::max<int64_t>(1, s.batch * s.heads * std::max<int64_t>(1, chosen.executed.tiles));
  chosen.slots = static_cast<int32_t>(std::min<int64_t>(problem.threading.num_threads, most));
  chosen.workspace_shared = problem.query.dtype == DType::float64 ? shared_workspace<double>(problem, wanted)
                                                                  : shared_workspace<float>(problem, wanted);
  chosen.predicted_seconds = std::max(chosen.predicted_seconds * static_cast<double>(s.batch * s.heads) / chosen.slots,
                                      memory_seconds(problem, isa));
  return chosen;
}

namespace {

template <class T>
void run_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, std::byte* memory) {
  Arena shared(memory);
  SharedModifiers<T> modifiers(shared, problem, false);
  modifiers.fill(problem);
  for (const CpuPart& part : choice.parts) {
    const auto run = part.kernel == CpuKernel::band ? band_forward<T> : tile_forward<T>;
    run(problem, outputs, choice, part, modifiers, memory + choice.workspace_shared);
  }
}

template <class T>
void run_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                  const CpuChoice& choice, std::byte* memory) {
  Arena shared(memory);
  SharedModifiers<T> modifiers(shared, problem, choice.wanted.key_weights);
  SharedGradients<T> sums(shared, problem, choice.wanted, modifiers.bias_head);
  modifiers.fill(problem);
  sums.start(problem, gradients, choice.parts);
  for (const CpuPart& part : choice.parts) {
    const auto run = part.kernel == CpuKernel::band ? band_backward<T> : tile_backward<T>;
    run(problem, inputs, gradients, choice, part, modifiers, sums, memory + choice.workspace_shared);
  }
  sums.finish(problem, gradients, kernels_of<T>(choice.isa));
}

}  // namespace

void cpu_forward(const Problem& problem, const ForwardOutputs& outputs, const CpuChoice& choice, void* workspace) {
  const Workspace memory(workspace, choice.workspace());
  const auto run = problem.query.dtype == DType::float64 ? run_forward<double> : run_forward<float>;
  run(problem, outputs, choice, static_cast<std::byte*>(memory.memory()));
}

void cpu_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                  const CpuChoice& choice, void* workspace) {
  const Workspace memory(workspace, choice.workspace());
  const auto run = problem.query.dtype == DType::float64 ? run_backward<double> : run_backward<float>;
  run(problem, inputs, gradients, choice, static_cast<std::byte*>(memory.memory()));
}

}  // namespace nearfield::core
