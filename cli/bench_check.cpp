// Is a benchmark's output right? A sample of rows is recomputed in float64, straight from the definition.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/thread_pool.h"
#include "bench_problem.h"
#include "check/compare.h"
#include "check/random.h"
#include "engine/reference/rows.h"

namespace nearfield::cli {
namespace {

constexpr size_t kRows = 400;

struct RowPlace {
  int64_t batch = 0, head = 0, token = 0;
};

core::Problem core_problem(const BenchProblem& bench) {
  const BenchCase& c = bench.bench_case();
  core::Problem problem;
  problem.pattern = core_pattern(c);
  problem.shape.rank = static_cast<int>(c.grid.size());
  problem.shape.batch = c.batch;
  std::copy(c.grid.begin(), c.grid.end(), problem.shape.grid);
  problem.shape.heads = problem.shape.heads_kv = c.heads_that_run();
  problem.shape.head_dim = problem.shape.head_dim_v = c.head_dim;
  problem.scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  problem.query = bench.core_view(bench.query);
  problem.key = bench.core_view(bench.key);
  problem.value = bench.core_view(bench.value);
  return problem;
}

// Grid tokens with every coordinate first, middle or last: corners, edges, faces and the centre.
std::vector<int64_t> landmark_tokens(const std::vector<int64_t>& grid) {
  std::vector<int64_t> tokens = {0};
  for (int64_t size : grid) {
    const std::set<int64_t> places = {0, size / 2, size - 1};
    std::vector<int64_t> longer;
    for (int64_t token : tokens)
      for (int64_t place : places) longer.push_back(token * size + place);
    tokens = std::move(longer);
  }
  return tokens;
}

int64_t tokens_of(const std::vector<int64_t>& grid) {
  int64_t tokens = 1;
  for (int64_t size : grid) tokens *= size;
  return tokens;
}

// The landmarks of every head, in the first and the last image by turns, and random places up to kRows.
std::vector<RowPlace> sample_rows(const BenchCase& c, const std::vector<int64_t>& grid) {
  std::set<std::tuple<int64_t, int64_t, int64_t>> places;
  bool last = false;
  for (int64_t head = 0; head < c.heads_that_run(); ++head)
    for (int64_t token : landmark_tokens(grid)) {
      places.emplace(last ? c.batch - 1 : 0, head, token);
      last = !last;
    }
  const int64_t tokens = tokens_of(grid), all = c.batch * c.heads_that_run() * tokens;
  core::Random random(7);
  while (places.size() < std::min(kRows, static_cast<size_t>(all)))
    places.emplace(random.below(c.batch), random.below(c.heads_that_run()), random.below(tokens));
  std::vector<RowPlace> rows;
  for (const auto& [batch, head, token] : places) rows.push_back({batch, head, token});
  return rows;
}

std::vector<int64_t> grid_of(const BenchProblem& bench, const Buffer& tensor) {
  return bench.is_of_keys(tensor) ? key_grid_of(bench.bench_case()) : bench.bench_case().grid;
}

std::string describe_place(const std::vector<int64_t>& grid, const RowPlace& place, const char* token_name) {
  std::string coordinates;
  int64_t rest = place.token;
  for (size_t a = grid.size(); a-- > 0; rest /= grid[a])
    coordinates = std::to_string(rest % grid[a]) + (coordinates.empty() ? "" : ", ") + coordinates;
  return fmt::format("batch {}, head {}, {} ({})", place.batch, place.head, token_name, coordinates);
}

// Sums of one tensor's rows against the reference's.
class RowComparison {
 public:
  RowComparison(const BenchProblem& bench, std::string name, const char* token_name)
      : bench_(bench), name_(std::move(name)), token_name_(token_name) {}

  // allowed: for each element.
  void add(const RowPlace& place, const Buffer& tensor, const std::vector<double>& expected, double allowed) {
    const int64_t channels = static_cast<int64_t>(expected.size());
    const int64_t first = bench_.row(tensor, place.batch, place.token, place.head) * channels;
    for (int64_t c = 0; c < channels; ++c) {
      const double actual = tensor.at(first + c), wanted = expected[static_cast<size_t>(c)];
      if (actual == wanted && std::isinf(wanted)) continue;  // the logsumexp of a query that sees nothing
      const double error = std::fabs(actual - wanted);
      if ((!(error <= allowed) || std::isinf(error)) && failure_.empty())
        failure_ = fmt::format(
            "{} at {}, channel {} is {:.9g}, the reference says {:.9g} (error {:.2e}, allowed {:.2e})", name_,
            describe_place(grid_of(bench_, tensor), place, token_name_), c, actual, wanted, error, allowed);
      max_error_ = std::max(max_error_, error);
      error_squares_ += error * error;
      squares_ += wanted * wanted;
    }
  }
  double max_error() const { return max_error_; }
  double relative_l2() const {
    return squares_ == 0 ? std::sqrt(error_squares_) : std::sqrt(error_squares_ / squares_);
  }
  std::string failure(double allowed_l2) const {
    if (failure_.empty() && !(relative_l2() <= allowed_l2))
      return fmt::format("{} has a relative L2 error of {:.2e}, allowed {:.2e}", name_, relative_l2(), allowed_l2);
    return failure_;
  }

 private:
  const BenchProblem& bench_;
  std::string name_;
  const char* token_name_;
  std::string failure_;
  double max_error_ = 0, error_squares_ = 0, squares_ = 0;
};

// On the sphere a query may see nothing, and then its logsumexp is -inf.
bool may_be_empty(const BenchProblem& bench) { return core_pattern(bench.bench_case()).has_arcs(); }

std::optional<int64_t> first_unwritten(const BenchProblem& bench, const Buffer& tensor) {
  if (&tensor != &bench.logsumexp || !may_be_empty(bench)) return tensor.first_nonfinite();
  for (int64_t i = 0; i < tensor.elements(); ++i)
    if (!(tensor.at(i) < std::numeric_limits<double>::infinity())) return i;
  return std::nullopt;
}

// "" or the first place that holds no number: what run() has not written is still NaN.
std::string unwritten(const BenchProblem& bench, const char* name, const Buffer& tensor) {
  const std::optional<int64_t> element = first_unwritten(bench, tensor);
  if (!element) return "";
  const BenchCase& c = bench.bench_case();
  const std::vector<int64_t> grid = grid_of(bench, tensor);
  const int64_t tokens = tokens_of(grid);
  const int64_t channels = tensor.elements() / (c.batch * tokens * c.heads_that_run());
  const int64_t row = *element / channels;
  const RowPlace place = {row / c.heads_that_run() / tokens, row % c.heads_that_run(),
                          row / c.heads_that_run() % tokens};
  return fmt::format("{} at {}, channel {} is {}: not written, or not a finite number", name,
                     describe_place(grid, place, "token"), *element % channels, tensor.at(*element));
}

template <class Row>
std::vector<Row> compute_rows(const std::vector<RowPlace>& places, const std::function<Row(const RowPlace&)>& compute) {
  std::vector<Row> rows(places.size());
  core::Threading threading;
  threading.num_threads = core::default_num_threads();
  core::parallel_for(threading, static_cast<int64_t>(places.size()),
                     [&](int64_t i) { rows[static_cast<size_t>(i)] = compute(places[static_cast<size_t>(i)]); });
  return rows;
}

double largest_of(const std::vector<double>& values) {
  double largest = 0;
  for (double x : values) largest = std::max(largest, std::fabs(x));
  return largest;
}

CheckReport check_forward(const BenchProblem& bench) {
  CheckReport report;
  for (const auto& [name, tensor] : {std::pair{"out", &bench.out}, std::pair{"logsumexp", &bench.logsumexp}})
    if (report.failure.empty()) report.failure = unwritten(bench, name, *tensor);
  if (!report.failure.empty()) return report;

  const core::Problem problem = core_problem(bench);
  const std::vector<RowPlace> places = sample_rows(bench.bench_case(), grid_of(bench, bench.out));
  const auto rows = compute_rows<core::ForwardRow>(places, [&](const RowPlace& place) {
    return core::reference_forward_row(problem, place.batch, place.head, place.token);
  });
  const core::Promise promise = core::promise_of(problem.query.dtype);
  RowComparison out(bench, "out", "query"), logsumexp(bench, "logsumexp", "query");
  for (size_t i = 0; i < rows.size(); ++i) {
    out.add(places[i], bench.out, rows[i].out, promise.out_max);
    logsumexp.add(places[i], bench.logsumexp, {rows[i].logsumexp},
                  promise.logsumexp * (1 + std::fabs(rows[i].logsumexp)));
  }
  report.failure = out.failure(promise.out_l2);
  if (report.failure.empty()) report.failure = logsumexp.failure(promise.logsumexp);
  report.error_max = out.max_error();
  report.rows = static_cast<int64_t>(rows.size());
  return report;
}

CheckReport check_backward(const BenchProblem& bench) {
  CheckReport report;
  for (const auto& [name, tensor] :
       {std::pair{"dquery", &bench.dquery}, std::pair{"dkey", &bench.dkey}, std::pair{"dvalue", &bench.dvalue}})
    if (report.failure.empty()) report.failure = unwritten(bench, name, *tensor);
  if (!report.failure.empty()) return report;

  const core::Problem problem = core_problem(bench);
  const core::BackwardInputs inputs = {
      bench.core_view(bench.out), bench.core_view(bench.logsumexp), bench.core_view(bench.dout), {}};
  const std::vector<RowPlace> queries = sample_rows(bench.bench_case(), grid_of(bench, bench.dquery));
  const std::vector<RowPlace> keys = sample_rows(bench.bench_case(), grid_of(bench, bench.dkey));
  const auto of_queries = compute_rows<std::vector<double>>(queries, [&](const RowPlace& p) {
    return core::reference_dquery_row(problem, inputs, p.batch, p.head, p.token);
  });
  const auto of_keys = compute_rows<core::KeyGradientRow>(keys, [&](const RowPlace& p) {
    return core::reference_key_gradient_row(problem, inputs, p.batch, p.head, p.token);
  });
  const double promise = core::promise_of(problem.query.dtype).gradient_l2;
  RowComparison comparisons[] = {{bench, "dquery", "query"}, {bench, "dkey", "key"}, {bench, "dvalue", "key"}};
  double largest[3] = {};
  for (const std::vector<double>& row : of_queries) largest[0] = std::max(largest[0], largest_of(row));
  for (const core::KeyGradientRow& row : of_keys) {
    largest[1] = std::max(largest[1], largest_of(row.dkey));
    largest[2] = std::max(largest[2], largest_of(row.dvalue));
  }
  // The L2 error is what is promised; one element of many hardly shows in it, so each has a bound of its own.
  for (size_t i = 0; i < of_queries.size(); ++i)
    comparisons[0].add(queries[i], bench.dquery, of_queries[i], 4 * promise * largest[0]);
  for (size_t i = 0; i < of_keys.size(); ++i) {
    comparisons[1].add(keys[i], bench.dkey, of_keys[i].dkey, 4 * promise * largest[1]);
    comparisons[2].add(keys[i], bench.dvalue, of_keys[i].dvalue, 4 * promise * largest[2]);
  }
  for (const RowComparison& comparison : comparisons) {
    if (report.failure.empty()) report.failure = comparison.failure(promise);
    report.error_max = std::max(report.error_max, comparison.relative_l2());
  }
  report.rows = static_cast<int64_t>(std::min(of_queries.size(), of_keys.size()));
  return report;
}

}  // namespace

CheckReport check_output(const BenchProblem& problem) {
  return problem.direction() == Direction::forward ? check_forward(problem) : check_backward(problem);
}

}  // namespace nearfield::cli
