#include <algorithm>

#include "base/checked.h"
#include "base/error.h"
#include "engine/block_sparse/workspace.h"
#include "engine/cpu/modifiers.h"
#include "engine/cpu/rates.h"

namespace nearfield::core {
namespace {

constexpr const char* kInstead = "engine=block_sparse takes none; engine=cpu does";

void refuse_modifiers(const Problem& problem) {
  const Modifiers& m = problem.modifiers;
  if (is_given(m.additional_keys)) unsupported("additional_keys: ", kInstead);
  if (is_given(m.key_mask)) unsupported("key_mask: ", kInstead);
  if (is_given(m.key_weights)) unsupported("key_weights: ", kInstead);
  if (is_given(m.bias)) unsupported("bias: ", kInstead);
  if (m.softcap != 0) unsupported("softcap=", m.softcap, ": ", kInstead);
}

std::shared_ptr<const BlockMap> map_of(const Pattern& pattern) {
  try {
    return cached_block_map(pattern, kSparseBlock);
  } catch (const Error& error) {
    if (error.status() != Status::unsupported) throw;
    unsupported("engine=block_sparse: ", error.what(), "; engine=cpu needs no such map");
  }
}

// Of one (batch, head): the lanes of a block's last tile work whether or not they are filled.
PlanStatistics statistics_of(const BlockMap& map, int64_t lanes) {
  PlanStatistics statistics;
  statistics.tiles = map.block_count();
  statistics.full_steps = map.counts().full;
  statistics.masked_steps = map.counts().masked;
  statistics.useful_pairs = map.counts().pairs;
  for (int64_t index = 0; index < map.block_count(); ++index) {
    const int64_t queries = round_up(map.size_of_block(index), lanes);
    for (const KeyBlock& block : map.row(index)) {
      const int64_t pairs = queries * map.size_of_block(block.index);
      statistics.executed_pairs += pairs;
      statistics.visited_keys += pairs / lanes;
      if (!block.full()) statistics.masked_keys += pairs / lanes;
    }
  }
  return statistics;
}

double seconds_of(const Problem& problem, const BlockSparseChoice& choice, int64_t lanes) {
  // Rates are for tiles of `lanes` queries.
  PlanStatistics tiles = choice.executed;
  const int64_t per_block = kSparseBlock / lanes, steps = kSparseBlock / kSparseStep;
  tiles.tiles *= per_block;
  tiles.full_steps *= per_block * steps;
  tiles.masked_steps *= per_block * steps;
  const Shape& s = problem.shape;
  const double heads = static_cast<double>(s.batch) * static_cast<double>(s.heads);
  double seconds = predicted_seconds(tiles, tile_rates(problem, choice.isa)) * heads;
  const double rows = static_cast<double>(s.batch) * static_cast<double>(s.heads_kv) * static_cast<double>(s.tokens());
  if (problem.pattern.order)
    seconds += rows * static_cast<double>((s.head_dim + s.head_dim_v) * size_of(problem.query.dtype)) /
               cpu_rates(choice.isa).bytes_per_second;
  return seconds / choice.slots;
}

template <class T>
void choose_for(const Problem& problem, BlockSparseChoice& choice) {
  const KernelTable<T>& kernels = kernels_of<T>(choice.isa);
  choice.executed = statistics_of(*choice.map, kernels.tile_queries);
  Arena shared(nullptr), slot(nullptr);
  const SparseShared<T> gathered(shared, problem, kernels);
  SparseSlot<T>(slot, problem, kernels, gathered);
  choice.workspace_shared = shared.used();
  choice.workspace_per_slot = slot.used();
  const Shape& s = problem.shape;
  const int64_t rows = s.heads / s.heads_kv * choice.map->block_count();
  choice.slots = static_cast<int32_t>(std::clamp<int64_t>(rows, 1, problem.threading.num_threads));
  choice.predicted_seconds = seconds_of(problem, choice, kernels.tile_queries);
}

}  // namespace

BlockSparseChoice block_sparse_choose(const Problem& problem, Isa isa, const GradientsWanted& wanted) {
  if (wanted.any()) unsupported("backward: engine=block_sparse has none; engine=cpu and engine=reference do");
  refuse_modifiers(problem);
  BlockSparseChoice choice;
  choice.isa = isa == Isa::automatic ? select_isa() : isa;
  if (const char* why = isa_unavailable(choice.isa)) unsupported("isa=", isa_name(choice.isa), ": ", why);
  choice.map = map_of(problem.pattern);
  problem.query.dtype == DType::float64 ? choose_for<double>(problem, choice) : choose_for<float>(problem, choice);
  const BlockCounts& counts = choice.map->counts();
  choice.reason = concat("A baseline, asked for by name: blocks of ", kSparseBlock, " x ", kSparseBlock, " tokens, ",
                         problem.pattern.order ? "keys and values gathered into the pattern's order" : "row-major",
                         ", on ", isa_name(choice.isa), ", waste ", choice.executed.waste(), "; ", counts.empty, " of ",
                         counts.blocks, " are skipped. The CPU engine can run this problem.");
  return choice;
}

}  // namespace nearfield::core
