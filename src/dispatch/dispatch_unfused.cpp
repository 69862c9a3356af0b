#include "dispatch/dispatch_unfused.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "dispatch/unfused_engines.h"
#include "engine/gemm/gemm.h"
#include "engine/unfused/attention.h"

namespace nearfield::core {
namespace {

// The engine's operators, and the instruction set that they run.
struct Chosen {
  const UnfusedOperators* operators = nullptr;
  Isa isa = Isa::portable;
};

Chosen choose(const UnfusedProblem& problem, DType dtype, const Request& request) {
  const bool is_empty = problem.shape.batch == 0 || problem.shape.tokens() == 0;
  Chosen chosen;
  chosen.isa = checked_unfused_isa(request.isa);
  EngineId engine = request.engine;
  if (engine == EngineId::automatic)
    engine = !is_empty && naive_is_faster(problem.pattern, dtype, chosen.isa) ? EngineId::naive : EngineId::gemm;
  chosen.operators = operators_of(engine);
  if (chosen.operators == nullptr)
    unsupported("engine=", engine_name(engine), ": has no explicit weights; gemm, naive and reference do");
  // Nothing to compute, but sums over nothing are written: literally.
  if (is_empty) chosen.operators = &kReferenceOperators;
  return chosen;
}

}  // namespace

void dispatch_qk(const QkCall& call, const Request& request) {
  const Chosen chosen = choose(call.problem, call.pairs.near.dtype, request);
  PairsCall pairs = call.pairs;
  pairs.hidden = -__builtin_huge_val();
  if (pairs.weights) chosen.operators->pairs(call.problem, pairs, chosen.isa);
}

void dispatch_qk_backward(const QkCall& call, const Request& request) {
  const Chosen chosen = choose(call.problem, call.pairs.near.dtype, request);
  if (call.dquery.near) chosen.operators->gather(call.problem, call.dquery, chosen.isa);
  if (call.dkey.far || call.dkey.additional) chosen.operators->scatter(call.problem, call.dkey, chosen.isa);
  if (call.dbias.bias) chosen.operators->bias(call.problem, call.dbias, chosen.isa);
}

void dispatch_av(const AvCall& call, const Request& request) {
  const Chosen chosen = choose(call.problem, call.out.far.dtype, request);
  if (call.out.near) chosen.operators->gather(call.problem, call.out, chosen.isa);
}

void dispatch_av_backward(const AvCall& call, const Request& request) {
  const Chosen chosen = choose(call.problem, call.out.far.dtype, request);
  if (call.dweights.weights) chosen.operators->pairs(call.problem, call.dweights, chosen.isa);
  if (call.dvalue.far || call.dvalue.additional) chosen.operators->scatter(call.problem, call.dvalue, chosen.isa);
}

void dispatch_forward_weights(const Problem& problem, const ForwardOutputs& outputs, const TensorView& weights,
                              const Request& request) {
  if (problem.shape.batch == 0 || problem.shape.tokens() == 0) return;
  const UnfusedProblem unfused =
      unfused_problem(problem.pattern, problem.shape, problem.modifiers.key_mask, problem.threading);
  const Chosen chosen = choose(unfused, problem.query.dtype, request);
  run_unfused_forward(*chosen.operators, chosen.isa, problem, outputs, weights, request);
}

}  // namespace nearfield::core
