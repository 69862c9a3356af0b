// Weighted sums of the band kernel: for each query, over the lines' rows that it sees. Adjacent queries share each
// row, and no pair outside a window is touched, so NaN or infinity in a key reaches only those who see it.
#pragma once

#include <cstdint>
#include <utility>

#include "engine/cpu/kernels.h"

namespace nearfield::core::kernel {

// out[t] = factor[t] * (out[t] +) sum over the group's lines and positions p that t sees of weight[t][p] * line[p].
template <class T>
struct Sums {
  const BandGroup<T>* group = nullptr;
  int64_t queries = 0;
  const T* weights = nullptr;  // [queries][row], from the group's first line on
  int64_t row = 0;
  const T* const* lines = nullptr;  // [group->lines]: [positions][stride]
  int64_t stride = 0;
  T* out = nullptr;           // [queries][stride]
  bool adds = false;          // to what is there
  const T* factor = nullptr;  // [queries]; nullptr: 1
};

// How the windows of adjacent queries lie to each other.
enum class Windows { equal, shifted_by_one, any };

// Rows t .. t+Q of columns [c, c + M*W): Q queries share each vector, so Q*M sums live in registers. Begins and ends
// never decrease and begin[Q-1] <= end[0]: the positions fall into a rising edge that the first queries see, a body
// that all see, and a falling edge that the last ones see. Body: its length, 0 for any; without a loop the sums keep
// their registers, which saves a third of the instructions where windows are small.
template <class V, int Q, int M, Windows Kind, int Body = 0>
struct RowSums {
  using T = typename V::Scalar;
  static constexpr int W = V::kLanes;

  V sum[Q][M];
  int64_t stride;    // of positions
  int64_t apart[Q];  // from query 0's weight at a position to query i's at the same
  const T* weight;   // of query 0, at the position that comes next
  const T* value;    // at this position

  // The next position, weighted with the weights `ahead` of the next, added to queries First .. Last.
  template <int First, int Last>
  inline __attribute__((always_inline)) void add(int64_t ahead) {
    V x[Q];
    value = V::opaque(value);
#pragma GCC unroll 12
    for (int i = First; i <= Last; ++i) x[i] = V::broadcast(weight + apart[i] + ahead);
#pragma GCC unroll 12
    for (int c = 0; c < M; ++c) {
      const V v = V::load_once(value + c * W);
#pragma GCC unroll 12
      for (int i = First; i <= Last; ++i) V::accumulate(sum[i][c], x[i], v);
    }
    value += stride;
  }
  template <int First, int Last>
  inline __attribute__((always_inline)) void advance(int64_t positions) {
    for (; positions > 0; --positions, ++weight) add<First, Last>(0);
  }
  inline __attribute__((always_inline)) void body(int64_t positions) {
    if constexpr (Body != 0) {
#pragma GCC unroll 8
      for (int ahead = 0; ahead < Body; ++ahead) add<0, Q - 1>(ahead);
      weight += Body;
      return;
    }
    for (; positions >= 4; positions -= 4, weight = V::opaque(weight + 4))
#pragma GCC unroll 4
      for (int ahead = 0; ahead < 4; ++ahead) add<0, Q - 1>(ahead);
    advance<0, Q - 1>(positions);
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void rising(const int32_t* begin) {
    if constexpr (I < Q && Kind != Windows::equal) {
      advance<0, I - 1>(Kind == Windows::shifted_by_one ? 1 : begin[I] - begin[I - 1]);
      rising<I + 1>(begin);
    }
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void falling(const int32_t* end) {
    if constexpr (I < Q && Kind != Windows::equal) {
      advance<I, Q - 1>(Kind == Windows::shifted_by_one ? 1 : end[I] - end[I - 1]);
      falling<I + 1>(end);
    }
  }

  static void run(const Sums<T>& job, int64_t t, int64_t c) {
    const int32_t *begin = job.group->begin + t, *end = job.group->end + t;
    RowSums self;
    self.stride = job.stride;
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i) {
      self.apart[i] = i * job.row - (begin[i] - begin[0]);
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j)
        self.sum[i][j] = job.adds ? V::load(job.out + (t + i) * job.stride + c + j * W) : V::zero();
    }
    const T* weights = job.weights + t * job.row;
    const int64_t first = begin[0] * self.stride + c, shared = end[0] - begin[Q - 1], width = job.group->width;
    for (int64_t line = 0; line < job.group->lines; ++line, weights += width) {
      self.weight = weights;
      self.value = job.lines[line] + first;
      self.rising(begin);
      self.body(shared);
      self.falling(end);
    }
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i) {
      const V scale = job.factor != nullptr ? V::broadcast(job.factor + t + i) : V::set(1);
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j) (self.sum[i][j] * scale).store(job.out + (t + i) * self.stride + c + j * W);
    }
  }
};

inline constexpr int kMostUnrolledBody = 6;

// Windows that move on by one from query to query, with a body of 1 .. kMostUnrolledBody positions.
template <class V, int Q, int M, int... I>
void short_body(std::integer_sequence<int, I...>, int32_t body, const Sums<typename V::Scalar>& job, int64_t t,
                int64_t c) {
  using Run = void (*)(const Sums<typename V::Scalar>&, int64_t, int64_t);
  static constexpr Run kRuns[] = {RowSums<V, Q, M, Windows::shifted_by_one, I + 1>::run...};
  kRuns[body - 1](job, t, c);
}

template <class V, int Q, int M>
void sum_columns(const Sums<typename V::Scalar>& job, int64_t t, int64_t c) {
  const int32_t *begin = job.group->begin, *end = job.group->end;
  bool equal = true, shifted = true;
  for (int64_t i = t + 1; i < t + Q; ++i) {
    const int32_t begins = begin[i] - begin[i - 1], ends = end[i] - end[i - 1];
    equal &= begins == 0 && ends == 0;
    shifted &= begins == 1 && ends == 1;
  }
  if (equal) return RowSums<V, Q, M, Windows::equal>::run(job, t, c);
  if (shifted) {
    // For the blocks that most queries fall into: every instance costs compile time.
    if constexpr (M == 4 || Q == 6) {
      const int32_t body = end[t] - begin[t + Q - 1];
      if (body >= 1 && body <= kMostUnrolledBody)
        return short_body<V, Q, M>(std::make_integer_sequence<int, kMostUnrolledBody>{}, body, job, t, c);
    }
    return RowSums<V, Q, M, Windows::shifted_by_one>::run(job, t, c);
  }
  RowSums<V, Q, M, Windows::any>::run(job, t, c);
}

// How many queries from t on, at most `most`, have a position that all of them see.
template <class T>
int64_t sharing_queries(const Sums<T>& job, int64_t t, int64_t most) {
  int64_t q = 1;
  while (q < most && t + q < job.queries && job.group->begin[t + q] <= job.group->end[t]) ++q;
  return q;
}

// M vectors of columns for all queries, `Most` queries at a time where their windows allow it, else 3, 2 or 1.
template <class V, int M, int Most>
void sum_block(const Sums<typename V::Scalar>& job, int64_t c) {
  for (int64_t t = 0; t < job.queries;) {
    const int64_t q = sharing_queries(job, t, Most);
    if (q == Most) {
      sum_columns<V, Most, M>(job, t, c);
      t += Most;
    } else if (q >= 3) {
      sum_columns<V, 3, M>(job, t, c);
      t += 3;
    } else if (q == 2) {
      sum_columns<V, 2, M>(job, t, c);
      t += 2;
    } else {
      sum_columns<V, 1, M>(job, t, c);
      t += 1;
    }
  }
}

template <class V>
void band_sums(const Sums<typename V::Scalar>& job) {
  constexpr int64_t W = V::kLanes;
  int64_t c = 0;
  for (; c + 4 * W <= job.stride; c += 4 * W) sum_block<V, 4, 3>(job, c);
  for (; c + 2 * W <= job.stride; c += 2 * W) sum_block<V, 2, 6>(job, c);
  for (; c < job.stride; c += W) sum_block<V, 1, 6>(job, c);
}

}  // namespace nearfield::core::kernel
