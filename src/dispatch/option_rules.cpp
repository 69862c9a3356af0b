#include "dispatch/option_rules.h"

#include <cmath>

#include "base/error.h"
#include "engine/cpu/cpu.h"

namespace nearfield::core {

void take_options(Problem& problem, const nf_options* given) {
  problem.scale = 1 / std::sqrt(static_cast<double>(problem.shape.head_dim));
  if (given == nullptr) {
    problem.threading.num_threads = default_num_threads();
    return;
  }
  const nf_options& o = *given;
  if (o.struct_size < sizeof(nf_options))
    invalid_argument("options.struct_size=", o.struct_size, ": must be at least ", sizeof(nf_options));
  if (o.has_scale != 0 && o.has_scale != 1) invalid_argument("has_scale=", o.has_scale, ": must be 0 or 1");
  if (o.has_scale) {
    if (!std::isfinite(o.scale)) invalid_argument("scale=", o.scale, ": must be finite");
    problem.scale = o.scale;
  }
  if (o.engine < NF_ENGINE_AUTO || o.engine > NF_ENGINE_GEMM)
    invalid_argument("engine=", o.engine,
                     ": must be 0 (auto), 1 (reference), 2 (cpu), 3 (block_sparse), 4 (naive) or 5 (gemm)");
  if (isa_name(static_cast<Isa>(o.isa)) == nullptr) invalid_argument("isa=", o.isa, ": must be ", isa_values());
  if (o.kernel < NF_KERNEL_AUTO || o.kernel > NF_KERNEL_TILE)
    invalid_argument("kernel=", o.kernel, ": must be 0 (auto), 1 (band) or 2 (tile)");
  if (o.num_threads < 0) invalid_argument("num_threads=", o.num_threads, ": must be at least 0");
  if (o.reserved != 0) invalid_argument("options.reserved=", o.reserved, ": must be 0");
  if (o.workspace == nullptr && o.workspace_size != 0)
    invalid_argument("workspace_size=", o.workspace_size, ": must be 0 where workspace is NULL");
  problem.threading = {.num_threads = o.num_threads > 0 ? o.num_threads : default_num_threads(),
                       .function = o.parallel_for,
                       .context = o.parallel_for_context};
}

}  // namespace nearfield::core
