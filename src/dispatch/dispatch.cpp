#include "dispatch/dispatch.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "base/error.h"
#include "dispatch/unfused_engines.h"
#include "engine/block_sparse/block_sparse.h"
#include "engine/reference/reference.h"
#include "pattern/curve.h"
#include "plan/plan.h"

namespace nearfield::core {

void* aligned_workspace(const Request& request, size_t needed, const char* query) {
  if (request.workspace == nullptr || needed == 0) return nullptr;
  const size_t asked = needed + kWorkspaceAlignment - 1;
  if (request.workspace_size < asked)
    invalid_argument("workspace_size=", request.workspace_size, ": must be at least ", asked,
                     " bytes for this problem, as ", query, " says");
  const auto address = reinterpret_cast<uintptr_t>(request.workspace);
  const uintptr_t shift = (kWorkspaceAlignment - address % kWorkspaceAlignment) % kWorkspaceAlignment;
  return static_cast<std::byte*>(request.workspace) + shift;
}

void set_reason(nf_explanation& explanation, const std::string& reason) {
  const size_t length = std::min(reason.size(), sizeof explanation.reason - 1);
  std::copy_n(reason.data(), length, explanation.reason);
  explanation.reason[length] = '\0';
}

void set_statistics(nf_explanation& explanation, const Shape& shape, const PlanStatistics& of_one) {
  const double copies = static_cast<double>(shape.batch) * static_cast<double>(shape.heads);
  explanation.tiles = of_one.tiles;
  explanation.full_steps = of_one.full_steps;
  explanation.masked_steps = of_one.masked_steps;
  explanation.useful_pairs = static_cast<double>(of_one.useful_pairs) * copies;
  explanation.executed_pairs = static_cast<double>(of_one.executed_pairs) * copies;
  explanation.waste = of_one.waste();
}

void set_tile(nf_explanation& explanation, const TileShape& shape) {
  std::copy_n(shape.near, kMaxGridRank, explanation.tile);
  std::copy_n(shape.far, kMaxGridRank, explanation.step);
}

namespace {

// Of the reference engine, for one (query, key) pair and one channel of query or value: 1e-8 to 4e-8 on one thread of
// a current x86 server, more per pair for small windows.
constexpr double kReferenceSecondsPerChannel = 2e-8;

// ---- the engines ---------------------------------------------------------------------------------------------------

struct Engine {
  EngineId id;
  const char* name;
  bool slow;  // only on demand
  // wanted: of a backward; none of a forward.
  size_t (*workspace)(const Problem&, const Request&, const GradientsWanted& wanted);
  void (*explain)(const Problem&, const Request&, const GradientsWanted& wanted, nf_explanation&);
  void (*forward)(const Problem&, const ForwardOutputs&, const Request&);
  void (*backward)(const Problem&, const BackwardInputs&, const Gradients&, const Request&);
};

// What the CPU engine runs: the pattern without an order that it can do without.
class Executed {
 public:
  explicit Executed(const Problem& problem) : given_(problem) {
    if (!problem.pattern.order) return;
    Pattern pattern = without_needless_order(problem.pattern);
    if (pattern.order) return;
    changed_ = problem;
    changed_->pattern = std::move(pattern);
  }
  const Problem& problem() const { return changed_ ? *changed_ : given_; }
  const char* note() const {
    if (changed_) return "; the order's runs are boxes of the grid: run as windows";
    return given_.pattern.order ? "; tokens are looked up along the order as they are loaded" : "";
  }

 private:
  const Problem& given_;
  std::optional<Problem> changed_;
};

size_t cpu_workspace(const Problem& given, const Request& request, const GradientsWanted& wanted) {
  const Executed executed(given);
  const Problem& problem = executed.problem();
  const size_t needed = cpu_choose(problem, request.isa, request.kernel, wanted).workspace();
  return needed == 0 ? 0 : needed + kWorkspaceAlignment - 1;
}

void run_cpu(const Problem& given, const ForwardOutputs& outputs, const Request& request) {
  const Executed executed(given);
  const Problem& problem = executed.problem();
  const CpuChoice choice = cpu_choose(problem, request.isa, request.kernel);
  cpu_forward(problem, outputs, choice, aligned_workspace(request, choice.workspace(), "nf_forward_workspace"));
}

void run_cpu_backward(const Problem& given, const BackwardInputs& inputs, const Gradients& gradients,
                      const Request& request) {
  const Executed executed(given);
  const Problem& problem = executed.problem();
  const CpuChoice choice = cpu_choose(problem, request.isa, request.kernel, wanted_of(gradients));
  cpu_backward(problem, inputs, gradients, choice,
               aligned_workspace(request, choice.workspace(), "nf_backward_workspace"));
}

void explain_cpu(const Problem& given, const Request& request, const GradientsWanted& wanted,
                 nf_explanation& explanation) {
  const Executed executed(given);
  const Problem& problem = executed.problem();
  const CpuChoice choice = cpu_choose(problem, request.isa, request.kernel, wanted);
  explanation.isa = static_cast<int32_t>(choice.isa);
  explanation.kernel = static_cast<int32_t>(choice.kernel);
  set_tile(explanation, choice.tile);
  std::set<const Plan*> plans;  // parts may share one
  for (const CpuPart& part : choice.parts)
    if (plans.insert(part.plan.get()).second) explanation.plan_memory += part.plan->bytes();
  if (problem.pattern.sphere) explanation.plan_memory += problem.pattern.sphere->bytes();
  set_statistics(explanation, problem.shape, choice.executed);
  explanation.predicted_seconds = choice.predicted_seconds;
  explanation.workspace = cpu_workspace(problem, request, wanted);
  set_reason(explanation, choice.reason + executed.note());
}

size_t no_workspace(const Problem&, const Request&, const GradientsWanted&) { return 0; }
void run_reference(const Problem& problem, const ForwardOutputs& outputs, const Request&) {
  reference_forward(problem, outputs);
}
void run_reference_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                            const Request&) {
  reference_backward(problem, inputs, gradients);
}

// The oracle visits each query's own keys: a plan of single queries, whose steps reach over the whole axis.
void explain_reference(const Problem& problem, const Request&, const GradientsWanted& wanted,
                       nf_explanation& explanation) {
  TileShape one_query;
  for (int a = 0; a < problem.pattern.rank; ++a)
    one_query.far[a] = std::visit([](const auto& rule) { return rule.keys; }, problem.pattern.axes[a]);
  set_tile(explanation, one_query);
  set_statistics(explanation, problem.shape, Plan(problem.pattern, one_query).statistics());
  const double channels = static_cast<double>(problem.shape.head_dim + problem.shape.head_dim_v);
  const double products = wanted.any() ? 2.5 : 1;  // five instead of two
  const double seconds = explanation.useful_pairs * channels * kReferenceSecondsPerChannel * products;
  explanation.predicted_seconds = seconds / problem.threading.num_threads;
  set_reason(explanation,
             "The oracle, asked for by name: float64, one query at a time, slow by design. The CPU engine can run this "
             "problem, much faster.");
}

// ---- the baseline --------------------------------------------------------------------------------------------------

size_t sparse_workspace(const Problem& problem, const Request& request, const GradientsWanted& wanted) {
  return block_sparse_choose(problem, request.isa, wanted).workspace() + kWorkspaceAlignment - 1;
}

void run_sparse(const Problem& problem, const ForwardOutputs& outputs, const Request& request) {
  const BlockSparseChoice choice = block_sparse_choose(problem, request.isa);
  block_sparse_forward(problem, outputs, choice,
                       aligned_workspace(request, choice.workspace(), "nf_forward_workspace"));
}

void run_sparse_backward(const Problem& problem, const BackwardInputs&, const Gradients& gradients,
                         const Request& request) {
  block_sparse_choose(problem, request.isa, wanted_of(gradients));  // says that there is none
}

void explain_sparse(const Problem& problem, const Request& request, const GradientsWanted& wanted,
                    nf_explanation& explanation) {
  const BlockSparseChoice choice = block_sparse_choose(problem, request.isa, wanted);
  explanation.isa = static_cast<int32_t>(choice.isa);
  TileShape blocks;
  blocks.near[problem.pattern.rank - 1] = blocks.far[problem.pattern.rank - 1] = kSparseBlock;
  set_tile(explanation, blocks);
  set_statistics(explanation, problem.shape, choice.executed);
  explanation.predicted_seconds = choice.predicted_seconds;
  explanation.workspace = choice.workspace() + kWorkspaceAlignment - 1;
  explanation.plan_memory = choice.map->bytes();
  set_reason(explanation, choice.reason);
}

// Fastest first: `auto` takes the first that is not slow.
constexpr Engine kEngines[] = {
    {EngineId::cpu, "cpu", false, cpu_workspace, explain_cpu, run_cpu, run_cpu_backward},
    {EngineId::gemm, "gemm", true, unfused_workspace<EngineId::gemm>, explain_unfused<EngineId::gemm>,
     run_unfused<EngineId::gemm>, run_unfused_backward<EngineId::gemm>},
    {EngineId::naive, "naive", true, unfused_workspace<EngineId::naive>, explain_unfused<EngineId::naive>,
     run_unfused<EngineId::naive>, run_unfused_backward<EngineId::naive>},
    {EngineId::block_sparse, "block_sparse", true, sparse_workspace, explain_sparse, run_sparse, run_sparse_backward},
    {EngineId::reference, "reference", true, no_workspace, explain_reference, run_reference, run_reference_backward},
};

// ---- the choice ----------------------------------------------------------------------------------------------------

const Engine& choose_engine(EngineId wanted) {
  for (const Engine& engine : kEngines)
    if (wanted == EngineId::automatic ? !engine.slow : engine.id == wanted) return engine;
  throw Error(Status::internal_error, "no engine is left to choose");
}

bool has_no_query(const Shape& shape) { return shape.batch == 0 || shape.tokens() == 0; }

// Gradients of a problem without queries: zero wherever a tensor has elements all the same (bias, additional keys).
void fill_zero(const TensorView& view) {
  int64_t elements = 1;
  for (int d = 0; d < view.rank; ++d) elements *= view.sizes[d];
  for (int64_t index = 0; index < elements; ++index) {
    int64_t element = 0, rest = index;
    for (int d = view.rank - 1; d >= 0; rest /= view.sizes[d--]) element += rest % view.sizes[d] * view.strides[d];
    store_double(view.at(element), view.dtype, 0.0);
  }
}

}  // namespace

Request request_of(const nf_options* options) {
  if (options == nullptr) return {};
  return {.engine = static_cast<EngineId>(options->engine),
          .isa = static_cast<Isa>(options->isa),
          .kernel = static_cast<CpuKernel>(options->kernel),
          .workspace = options->workspace,
          .workspace_size = options->workspace_size};
}

void dispatch_forward(const Problem& problem, const ForwardOutputs& outputs, const Request& request) {
  if (has_no_query(problem.shape)) return;
  choose_engine(request.engine).forward(problem, outputs, request);
}

void dispatch_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                       const Request& request) {
  if (!wanted_of(gradients).any()) return;
  if (!has_no_query(problem.shape)) return choose_engine(request.engine).backward(problem, inputs, gradients, request);
  Gradients left = gradients;
  if (left.key_weights) left.key_weights.sizes[0] = 1;  // given without a batch: there is one, whatever the batch
  for (const TensorView* view : {&left.query, &left.key, &left.value, &left.additional_keys, &left.additional_values,
                                 &left.key_weights, &left.bias})
    if (*view) fill_zero(*view);
}

size_t dispatch_workspace(const Problem& problem, const Request& request, const GradientsWanted& wanted) {
  if (has_no_query(problem.shape)) return 0;
  return choose_engine(request.engine).workspace(problem, request, wanted);
}

nf_explanation dispatch_explain(const Problem& problem, const Request& request, const GradientsWanted& wanted) {
  nf_explanation explanation = {};
  explanation.struct_size = sizeof explanation;
  explanation.num_threads = problem.threading.num_threads;
  if (has_no_query(problem.shape)) {
    explanation.waste = 1;
    set_reason(explanation, "There is no query: batch or a grid axis is 0. No engine runs.");
    return explanation;
  }
  const Engine& engine = choose_engine(request.engine);
  explanation.engine = static_cast<int32_t>(engine.id);
  engine.explain(problem, request, wanted, explanation);
  return explanation;
}

const char* engine_name(EngineId engine) {
  if (engine == EngineId::automatic) return "auto";
  for (const Engine& entry : kEngines)
    if (entry.id == engine) return entry.name;
  return nullptr;
}

const char* engine_unavailable(EngineId engine) {
  // All engines run everywhere: there always is the portable instruction set.
  return engine_name(engine) == nullptr ? "there is no such engine" : nullptr;
}

const char* kernel_name(CpuKernel kernel) {
  switch (kernel) {
    case CpuKernel::automatic: return "auto";
    case CpuKernel::band: return "band";
    case CpuKernel::tile: return "tile";
  }
  return nullptr;
}

}  // namespace nearfield::core
