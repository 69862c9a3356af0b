#include "dispatch/unfused_engines.h"

#include <string>

#include "base/error.h"
#include "dispatch/validate_unfused.h"
#include "engine/cpu/workspace.h"
#include "engine/gemm/gemm.h"
#include "engine/unfused/attention.h"

namespace nearfield::core {
namespace {

// Errors for what explicit weights don't have. tight: nobody else sees them.
UnfusedAttention attention_of(const UnfusedOperators& operators, EngineId engine, Isa isa, const Problem& problem,
                              bool tight = true) {
  const Modifiers& m = problem.modifiers;
  const char* const name = engine_name(engine);
  const auto instead = [&] { return concat("engine=", name, " takes none; engine=cpu does"); };
  if (problem.pattern.sphere) unsupported("pattern: engine=", name, " has no sphere; engine=cpu does");
  if (m.softcap != 0) unsupported("softcap=", m.softcap, ": ", instead());
  if (m.key_weights.rank > 0) unsupported("key_weights: ", instead());
  UnfusedAttention attention;
  attention.operators = &operators;
  attention.isa = isa;
  attention.problem = unfused_problem(problem.pattern, problem.shape, m.key_mask, problem.threading, tight);
  attention.dtype = engine == EngineId::reference ? DType::float64 : accumulator_of(problem.query.dtype);
  return attention;
}

UnfusedAttention attention_of(EngineId engine, const Problem& problem, const Request& request) {
  return attention_of(*operators_of(engine), engine, checked_unfused_isa(request.isa), problem);
}

int tensors_of(const GradientsWanted& wanted) { return wanted.scores() ? 2 : 1; }

// Rounds the weights to the tensor that the caller wants them in.
void copy_weights(const UnfusedProblem& problem, const TensorView& from, const TensorView& to) {
  const Shape& shape = problem.shape;
  const int64_t columns = problem.columns(), rows = shape.batch * shape.tokens() * shape.heads;
  parallel_for(problem.threading, rows, [&](int64_t row) {
    int64_t element = 0, rest = row;
    for (int d = to.rank - 2; d >= 0; rest /= to.sizes[d--]) element += rest % to.sizes[d] * to.strides[d];
    for (int64_t c = 0; c < columns; ++c)
      store_double(to.at(element + c), to.dtype, load_double(from.at(row * columns + c), from.dtype));
  });
}

std::string mebibytes(size_t bytes) { return concat(static_cast<double>(bytes) / (1 << 20), " MiB"); }

}  // namespace

const UnfusedOperators* operators_of(EngineId engine) {
  switch (engine) {
    case EngineId::reference: return &kReferenceOperators;
    case EngineId::naive: return &kNaiveOperators;
    case EngineId::gemm: return &kGemmOperators;
    default: return nullptr;
  }
}

Isa checked_unfused_isa(Isa isa) {
  const Isa chosen = isa == Isa::automatic ? select_isa() : isa;
  if (const char* why = isa_unavailable(chosen)) unsupported("isa=", isa_name(chosen), ": ", why);
  return chosen;
}

template <EngineId Id>
size_t unfused_workspace(const Problem& problem, const Request& request, const GradientsWanted& wanted) {
  return bytes_of_weights(attention_of(Id, problem, request), tensors_of(wanted)) + kWorkspaceAlignment - 1;
}

template <EngineId Id>
void explain_unfused(const Problem& problem, const Request& request, const GradientsWanted& wanted,
                     nf_explanation& explanation) {
  const UnfusedAttention attention = attention_of(Id, problem, request);
  const size_t bytes = bytes_of_weights(attention, tensors_of(wanted));
  const DType dtype = problem.query.dtype;
  const auto plan = gemm_plan(problem.pattern, dtype, problem.shape.head_dim, attention.isa);
  explanation.isa = static_cast<int32_t>(attention.isa);
  explanation.workspace = bytes + kWorkspaceAlignment - 1;
  PlanStatistics statistics = plan->statistics();
  TileShape tile = plan->shape();
  double seconds = 0;
  if (Id == EngineId::gemm) {
    explanation.plan_memory = plan->bytes();
    statistics.executed_pairs = statistics.visited_keys * gemm_lanes(dtype, attention.isa);  // idle lanes work too
    seconds = gemm_seconds(*plan, dtype, problem.shape.head_dim, attention.isa) +
              gemm_seconds(*plan, dtype, problem.shape.head_dim_v, attention.isa);
  } else {
    tile = {};
    statistics = {.tiles = problem.shape.tokens(),
                  .useful_pairs = statistics.useful_pairs,
                  .executed_pairs = statistics.useful_pairs};
    seconds = naive_seconds(*plan, dtype, problem.shape.head_dim + problem.shape.head_dim_v, attention.isa);
  }
  set_tile(explanation, tile);
  set_statistics(explanation, problem.shape, statistics);
  const double heads = static_cast<double>(problem.shape.batch) * static_cast<double>(problem.shape.heads);
  explanation.predicted_seconds = seconds * heads * (wanted.any() ? 2.5 : 1) / problem.threading.num_threads;
  set_reason(explanation,
             concat("Asked for by name: explicit weights, ",
                    Id == EngineId::gemm ? "products of tiles and their haloed keys" : "one query at a time", " on ",
                    isa_name(attention.isa), ". Its workspace of ", mebibytes(bytes), " holds ",
                    tensors_of(wanted) == 2 ? "two tensors of " : "", problem.shape.batch, " x ",
                    problem.shape.tokens(), " queries x ", problem.shape.heads, " heads x ",
                    attention.problem.columns(), " slots. The CPU engine can run this problem without them."));
}

void run_unfused_forward(const UnfusedOperators& operators, Isa isa, const Problem& problem,
                         const ForwardOutputs& outputs, const TensorView& weights, const Request& request) {
  const EngineId engine = &operators == &kReferenceOperators ? EngineId::reference
                          : &operators == &kNaiveOperators   ? EngineId::naive
                                                             : EngineId::gemm;
  const UnfusedAttention attention = attention_of(operators, engine, isa, problem, !weights);
  if (weights && weights.dtype == attention.dtype && in_place(weights))
    return attend(attention, problem, outputs, weights);
  const size_t bytes = bytes_of_weights(attention, 1);
  const Workspace memory(aligned_workspace(request, bytes, "nf_forward_workspace"), bytes);
  const TensorView own = weights_at(attention, memory.memory());
  attend(attention, problem, outputs, own);
  if (weights) copy_weights(attention.problem, own, weights);
}

template <EngineId Id>
void run_unfused(const Problem& problem, const ForwardOutputs& outputs, const Request& request) {
  run_unfused_forward(*operators_of(Id), checked_unfused_isa(request.isa), problem, outputs, {}, request);
}

template <EngineId Id>
void run_unfused_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                          const Request& request) {
  const UnfusedAttention attention = attention_of(Id, problem, request);
  const GradientsWanted wanted = wanted_of(gradients);
  const size_t bytes = bytes_of_weights(attention, tensors_of(wanted));
  const Workspace memory(aligned_workspace(request, bytes, "nf_backward_workspace"), bytes);
  auto* const first = static_cast<std::byte*>(memory.memory());
  attend_backward(attention, problem, inputs, gradients, weights_at(attention, first),
                  wanted.scores() ? weights_at(attention, first + bytes / 2) : TensorView{});
}

template size_t unfused_workspace<EngineId::naive>(const Problem&, const Request&, const GradientsWanted&);
template size_t unfused_workspace<EngineId::gemm>(const Problem&, const Request&, const GradientsWanted&);
template void explain_unfused<EngineId::naive>(const Problem&, const Request&, const GradientsWanted&, nf_explanation&);
template void explain_unfused<EngineId::gemm>(const Problem&, const Request&, const GradientsWanted&, nf_explanation&);
template void run_unfused<EngineId::naive>(const Problem&, const ForwardOutputs&, const Request&);
template void run_unfused<EngineId::gemm>(const Problem&, const ForwardOutputs&, const Request&);
template void run_unfused_backward<EngineId::naive>(const Problem&, const BackwardInputs&, const Gradients&,
                                                    const Request&);
template void run_unfused_backward<EngineId::gemm>(const Problem&, const BackwardInputs&, const Gradients&,
                                                   const Request&);

}  // namespace nearfield::core
