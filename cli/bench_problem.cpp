#include "bench_problem.h"

#include <algorithm>

#include "base/checked.h"
#include "base/dtype.h"

namespace nearfield::cli {
namespace {

nf_dtype logsumexp_dtype(nf_dtype dtype) { return dtype == NF_FLOAT64 ? NF_FLOAT64 : NF_FLOAT32; }

int64_t rows_of(const BenchCase& bench_case, int64_t tokens) {
  return core::checked_product(core::checked_product(bench_case.batch, tokens, "tokens"), bench_case.heads_that_run(),
                               "rows");
}

}  // namespace

int64_t BenchProblem::bytes(const BenchCase& bench_case, nf_dtype dtype, Direction direction) {
  const int64_t tensors = direction == Direction::forward ? 2 : 4;  // of queries, and as many of keys
  const int64_t row_bytes = tensors * bench_case.head_dim * core::size_of(static_cast<core::DType>(dtype));
  const int64_t lse_bytes = core::size_of(static_cast<core::DType>(logsumexp_dtype(dtype)));
  const int64_t of_keys = core::checked_product(rows_of(bench_case, bench_case.key_tokens()), row_bytes, "bytes");
  return of_keys + core::checked_product(rows_of(bench_case, bench_case.tokens()), row_bytes + lse_bytes, "bytes");
}

BenchProblem::BenchProblem(const BenchCase& bench_case, nf_dtype dtype, Direction direction)
    : bench_case_(bench_case), dtype_(dtype), direction_(direction), pattern_(pattern_of(bench_case)) {
  const int64_t rows = rows_of(bench_case, bench_case.tokens());
  const int64_t elements = core::checked_product(rows, bench_case.head_dim, "elements");
  const int64_t of_keys =
      core::checked_product(rows_of(bench_case, bench_case.key_tokens()), bench_case.head_dim, "elements");
  for (Buffer* tensor : {&query, &out}) *tensor = Buffer(elements, dtype);
  for (Buffer* tensor : {&key, &value}) *tensor = Buffer(of_keys, dtype);
  logsumexp = Buffer(rows, logsumexp_dtype(dtype));
  query.fill_normal(1);
  key.fill_normal(2);
  value.fill_normal(3);
  if (direction == Direction::backward) {
    for (Buffer* tensor : {&dout, &dquery}) *tensor = Buffer(elements, dtype);
    for (Buffer* tensor : {&dkey, &dvalue}) *tensor = Buffer(of_keys, dtype);
    dout.fill_normal(4);
  }
  poison_outputs();
  out.poison();
  logsumexp.poison();
}

BenchProblem BenchProblem::copy() const {
  BenchProblem result;
  result.bench_case_ = bench_case_;
  result.dtype_ = dtype_;
  result.direction_ = direction_;
  result.pattern_ = pattern_;
  for (Buffer BenchProblem::*tensor :
       {&BenchProblem::query, &BenchProblem::key, &BenchProblem::value, &BenchProblem::out, &BenchProblem::logsumexp,
        &BenchProblem::dout, &BenchProblem::dquery, &BenchProblem::dkey, &BenchProblem::dvalue})
    result.*tensor = (this->*tensor).copy();
  return result;
}

bool BenchProblem::is_of_keys(const Buffer& buffer) const {
  return &buffer == &key || &buffer == &value || &buffer == &dkey || &buffer == &dvalue;
}

Tensor BenchProblem::view(const Buffer& buffer) const {
  std::vector<int64_t> shape = is_of_keys(buffer) ? key_shape(bench_case_) : tensor_shape(bench_case_);
  if (&buffer == &logsumexp) shape.pop_back();
  return Tensor(buffer.data(), buffer.dtype(), shape);
}

core::TensorView BenchProblem::core_view(const Buffer& buffer) const {
  const Tensor from = view(buffer);
  core::TensorView result;
  result.data = static_cast<std::byte*>(from.data);
  result.dtype = static_cast<core::DType>(from.dtype);
  result.rank = from.rank;
  std::copy_n(from.sizes, from.rank, result.sizes);
  std::copy_n(from.strides, from.rank, result.strides);
  return result;
}

void BenchProblem::forward(const Options& options) const {
  nearfield::forward(head_of(pattern_), view(query), view(key), view(value), view(out), view(logsumexp), options);
}

void BenchProblem::prepare(const Options& options) const {
  if (direction_ == Direction::backward) forward(options);
}

void BenchProblem::run(const Options& options) const {
  if (direction_ == Direction::forward) return forward(options);
  Gradients gradients;
  gradients.query = view(dquery);
  gradients.key = view(dkey);
  gradients.value = view(dvalue);
  nearfield::backward(head_of(pattern_), view(query), view(key), view(value), view(out), view(logsumexp), view(dout),
                      gradients, {}, options);
}

nf_explanation BenchProblem::explain(const Options& options) const {
  return nearfield::explain(head_of(pattern_), view(query), view(key), view(value), options);
}

void BenchProblem::poison_outputs() {
  if (direction_ == Direction::forward) {
    out.poison();
    logsumexp.poison();
  } else {
    for (Buffer* gradient : {&dquery, &dkey, &dvalue}) gradient->poison();
  }
}

uint64_t BenchProblem::fingerprint() const {
  if (direction_ == Direction::forward) return out.fingerprint() + 3 * logsumexp.fingerprint();
  return dquery.fingerprint() + 3 * dkey.fingerprint() + 5 * dvalue.fingerprint();
}

}  // namespace nearfield::cli
