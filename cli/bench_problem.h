// One benchmark case in memory: its tensors, the call that is timed, and the check that the call's output is right.
#pragma once

#include <cstdint>
#include <string>

#include "base/tensor_view.h"
#include "bench_cases.h"
#include "bench_data.h"
#include "nearfield/nearfield.hpp"

namespace nearfield::cli {

enum class Direction { forward, backward };

class BenchProblem {
 public:
  // Bytes of all tensors; the library's workspace comes on top.
  static int64_t bytes(const BenchCase& bench_case, nf_dtype dtype, Direction direction);

  // Allocates and draws the inputs: N(0,1), the same for every run.
  BenchProblem(const BenchCase& bench_case, nf_dtype dtype, Direction direction);

  const BenchCase& bench_case() const { return bench_case_; }
  nf_dtype dtype() const { return dtype_; }
  Direction direction() const { return direction_; }

  // The call that is timed: forward writes out and logsumexp; backward reads them and writes the gradients of query,
  // key and value. Throws nearfield::Error.
  void run(const Options& options) const;
  // Backward only: the forward whose results the backward reads.
  void prepare(const Options& options) const;
  nf_explanation explain(const Options& options) const;

  void poison_outputs();
  // Of everything that run() writes.
  uint64_t fingerprint() const;

  // The same tensors in memory of their own, those that backward's prepare() wrote included.
  BenchProblem copy() const;

  // Whether the tensor lies on the grid of keys: key, value and their gradients.
  bool is_of_keys(const Buffer& buffer) const;
  // Row of a tensor, as every Buffer here lies in memory; token is the row-major position on the tensor's grid.
  int64_t row(const Buffer& buffer, int64_t batch, int64_t token, int64_t head) const {
    const int64_t tokens = is_of_keys(buffer) ? bench_case_.key_tokens() : bench_case_.tokens();
    return (batch * tokens + token) * bench_case_.heads_that_run() + head;
  }

  // One of the buffers below, as the library's inside sees it.
  core::TensorView core_view(const Buffer& buffer) const;

  Buffer query, key, value, out, logsumexp;
  Buffer dout, dquery, dkey, dvalue;  // backward only

 private:
  BenchProblem() = default;
  Tensor view(const Buffer& buffer) const;
  void forward(const Options& options) const;

  BenchCase bench_case_;
  nf_dtype dtype_ = NF_FLOAT32;
  Direction direction_ = Direction::forward;
  AnyPattern pattern_;
};

struct CheckReport {
  std::string failure;   // empty: the output is right
  double error_max = 0;  // forward: largest absolute error of out; backward: largest relative L2 error of a gradient
  int64_t rows = 0;      // compared with the float64 reference
};

// Recomputes some hundreds of rows in float64, the grid's corners and edges in every head among them, and makes sure
// that nothing at all was left unwritten. Call it after run().
CheckReport check_output(const BenchProblem& problem);

}  // namespace nearfield::cli
