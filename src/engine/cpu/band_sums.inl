// Weighted sums of the band kernel: for each query, over the lines' rows that it sees. Adjacent queries share each
// row, and no pair outside a window is touched, so NaN or infinity in a key reaches only those who see it.
#pragma once

#include <cstdint>
#include <utility>

#include "engine/cpu/kernels.h"

namespace nearfield::core::kernel {

// out[t] = factor[t] * (out[t] +) sum over the groups' lines and positions p that t sees of weight[t][p] * line[p].
template <class T>
struct Sums {
  const BandGroup<T>* groups = nullptr;  // [group_count]
  int64_t group_count = 1;               // more than one only of arcs
  bool moves_by_one = false;             // as BandTile's
  int64_t queries = 0;
  const T* weights = nullptr;  // [queries][row], from the first group's first line on
  int64_t row = 0;
  const T* const* BandGroup<T>::*lines = nullptr;  // keys or values: [positions][stride]
  int64_t stride = 0;
  T* out = nullptr;           // [queries][stride]
  bool adds = false;          // to what is there
  const T* factor = nullptr;  // [queries]; nullptr: 1
};

// How the windows of adjacent queries lie to each other. Arcs: in more than one group.
enum class Windows { equal, shifted_by_one, any, shifted_arcs, any_arcs };

// Rows t .. t+Q of columns [c, c + M*W): Q queries share each vector, so Q*M sums live in registers. Begins and ends
// never decrease and begin[Q-1] <= end[0]: the positions fall into a rising edge that the first queries see, a body
// that all see, and a falling edge that the last ones see. (Of arcs some may be shorter; there each query is on its
// own.) Body: its length, 0 for any; without a loop the sums keep their registers, which saves a third of the
// instructions where windows are small.
template <class V, int Q, int M, Windows Kind, int Body = 0>
struct RowSums {
  using T = typename V::Scalar;
  static constexpr int W = V::kLanes;
  static constexpr bool kIsArcs = Kind == Windows::shifted_arcs || Kind == Windows::any_arcs;
  static constexpr bool kIsShifted = Kind == Windows::shifted_by_one || Kind == Windows::shifted_arcs;

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
  template <int Positions>
  inline __attribute__((always_inline)) void short_body() {
#pragma GCC unroll 8
    for (int ahead = 0; ahead < Positions; ++ahead) add<0, Q - 1>(ahead);
    weight += Positions;
  }
  inline __attribute__((always_inline)) void body(int64_t positions) {
    if constexpr (Body != 0) return short_body<Body>();
    if constexpr (Kind == Windows::shifted_arcs && Q > 1) {  // arcs are odd, so are these
      if (positions == 4 - Q) return short_body < 4 - Q < 0 ? 0 : 4 - Q > ();
      if (positions == 6 - Q) return short_body < 6 - Q < 0 ? 0 : 6 - Q > ();
      if (positions == 8 - Q) return short_body < 8 - Q < 0 ? 0 : 8 - Q > ();
    }
    for (; positions >= 4; positions -= 4, weight = V::opaque(weight + 4))
#pragma GCC unroll 4
      for (int ahead = 0; ahead < 4; ++ahead) add<0, Q - 1>(ahead);
    advance<0, Q - 1>(positions);
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void rising(const int32_t* begin) {
    if constexpr (I < Q && Kind != Windows::equal) {
      advance<0, I - 1>(kIsShifted ? 1 : begin[I] - begin[I - 1]);
      rising<I + 1>(begin);
    }
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void falling(const int32_t* end) {
    if constexpr (I < Q && Kind != Windows::equal) {
      advance<I, Q - 1>(kIsShifted ? 1 : end[I] - end[I - 1]);
      falling<I + 1>(end);
    }
  }
  // Each query by itself, from the line's weights and the values at position 0.
  template <int I = 0>
  inline __attribute__((always_inline)) void alone(const T* weights, int64_t row, const T* line, const int32_t* begin,
                                                   const int32_t* end) {
    if constexpr (I < Q) {
      value = line + begin[I] * stride;
      weight = weights + I * row - apart[I];
      for (int64_t p = begin[I]; p < end[I]; ++p, ++weight) add<I, I>(0);
      alone<I + 1>(weights, row, line, begin, end);
    }
  }

  inline __attribute__((always_inline)) void add_group(const Sums<T>& job, const BandGroup<T>& group, int64_t t,
                                                       int64_t c, const T* weights) {
    const int32_t *begin = group.begin + t, *end = group.end + t;
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i) apart[i] = i * job.row - (begin[i] - begin[0]);
    const int64_t first = begin[0] * stride + c, shared = end[0] - begin[Q - 1], width = group.width;
    const T* const* lines = group.*job.lines;
    if (kIsArcs && shared < 0) {
      for (int64_t line = 0; line < group.lines; ++line, weights += width)
        alone(weights, job.row, lines[line] + c, begin, end);
      return;
    }
    for (int64_t line = 0; line < group.lines; ++line, weights += width) {
      weight = weights;
      value = lines[line] + first;
      rising(begin);
      body(shared);
      falling(end);
    }
  }

  static void run(const Sums<T>& job, int64_t t, int64_t c) {
    RowSums self;
    self.stride = job.stride;
#pragma GCC unroll 12
    for (int i = 0; i < Q; ++i)
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j)
        self.sum[i][j] = job.adds ? V::load(job.out + (t + i) * job.stride + c + j * W) : V::zero();
    const T* weights = job.weights + t * job.row;
    if constexpr (kIsArcs) {
      for (int64_t g = 0; g < job.group_count; ++g) {
        self.add_group(job, job.groups[g], t, c, weights);
        weights += job.groups[g].lines * job.groups[g].width;
      }
    } else {
      self.add_group(job, job.groups[0], t, c, weights);
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
void sum_short_body(std::integer_sequence<int, I...>, int32_t body, const Sums<typename V::Scalar>& job, int64_t t,
                    int64_t c) {
  using Run = void (*)(const Sums<typename V::Scalar>&, int64_t, int64_t);
  static constexpr Run kRuns[] = {RowSums<V, Q, M, Windows::shifted_by_one, I + 1>::run...};
  kRuns[body - 1](job, t, c);
}

template <class V, int Q, int M>
void sum_columns(const Sums<typename V::Scalar>& job, int64_t t, int64_t c) {
  if (job.group_count > 1)
    return job.moves_by_one ? RowSums<V, Q, M, Windows::shifted_arcs>::run(job, t, c)
                            : RowSums<V, Q, M, Windows::any_arcs>::run(job, t, c);
  const int32_t *begin = job.groups[0].begin, *end = job.groups[0].end;
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
        return sum_short_body<V, Q, M>(std::make_integer_sequence<int, kMostUnrolledBody>{}, body, job, t, c);
    }
    return RowSums<V, Q, M, Windows::shifted_by_one>::run(job, t, c);
  }
  RowSums<V, Q, M, Windows::any>::run(job, t, c);
}

// How many queries from t on, at most `most`, have a position that all of them see. Of arcs some may: all will do.
template <class T>
int64_t sharing_queries(const Sums<T>& job, int64_t t, int64_t most) {
  if (job.group_count > 1) return job.queries - t < most ? job.queries - t : most;
  const BandGroup<T>& group = job.groups[0];
  int64_t q = 1;
  while (q < most && t + q < job.queries && group.begin[t + q] <= group.end[t]) ++q;
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

// Short arcs, query by query: no bookkeeping, every product takes one of its factors from memory, and sums of M = 8
// vectors hide their own latency. On Zen 3 9% faster than to share vectors where arcs are of 1 and 3 keys, and 3%
// slower where they are of 5 to 9.
template <class V, int M>
void sum_arcs(const Sums<typename V::Scalar>& job, int64_t c) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const int64_t stride = job.stride;
  for (int64_t t = 0; t < job.queries; ++t) {
    T* out = job.out + t * stride + c;
    V sum[M];
#pragma GCC unroll 8
    for (int j = 0; j < M; ++j) sum[j] = job.adds ? V::load(out + j * W) : V::zero();
    const T* weights = job.weights + t * job.row;
    for (const BandGroup<T>*group = job.groups, *last = group + job.group_count; group != last; ++group) {
      const int64_t begin = group->begin[t], count = group->end[t] - begin, first = begin * stride + c;
      const T *const *line = group->*job.lines, *const *end = line + group->lines;
      for (; line != end; ++line, weights += group->width) {
        const T* value = *line + first;
        for (int64_t p = 0; p < count; ++p, value += stride) {
          const V x = V::broadcast(weights + p);
#pragma GCC unroll 8
          for (int j = 0; j < M; ++j) sum[j] = fma(x, V::load(value + j * W), sum[j]);
        }
      }
    }
    const V scale = job.factor != nullptr ? V::broadcast(job.factor + t) : V::set(1);
#pragma GCC unroll 8
    for (int j = 0; j < M; ++j) (sum[j] * scale).store(out + j * W);
  }
}

template <class T>
bool is_short_arc(const BandGroup<T>& group) {
  return group.end[0] - group.begin[0] <= 4;
}
template <class T>
bool has_short_arcs(const Sums<T>& job) {
  for (int64_t g = 0; g < job.group_count; ++g)
    if (!is_short_arc(job.groups[g])) return false;
  return true;
}

template <class V>
void band_sums(const Sums<typename V::Scalar>& job) {
  constexpr int64_t W = V::kLanes;
  int64_t c = 0;
  if (job.group_count > 1 && has_short_arcs(job))
    for (; c + 8 * W <= job.stride; c += 8 * W) sum_arcs<V, 8>(job, c);
  for (; c + 4 * W <= job.stride; c += 4 * W) sum_block<V, 4, 3>(job, c);
  for (; c + 2 * W <= job.stride; c += 2 * W) sum_block<V, 2, 6>(job, c);
  for (; c < job.stride; c += W) sum_block<V, 1, 6>(job, c);
}

// Over the grid's lines and the additional keys of a tile: weights [queries][tile.row], out [queries][stride].
template <class V>
void sum_lines(const BandTile<typename V::Scalar>& tile, const typename V::Scalar* weights,
               const typename V::Scalar* const* BandGroup<typename V::Scalar>::*lines, int64_t stride,
               typename V::Scalar* out, const typename V::Scalar* factor) {
  const bool has_more = tile.group_count > tile.grid_groups;
  Sums<typename V::Scalar> job = {.groups = tile.groups,
                                  .group_count = tile.grid_groups,
                                  .moves_by_one = tile.moves_by_one,
                                  .queries = tile.queries,
                                  .weights = weights,
                                  .row = tile.row,
                                  .lines = lines,
                                  .stride = stride,
                                  .out = out,
                                  .adds = false,
                                  .factor = has_more ? nullptr : factor};
  band_sums<V>(job);
  if (!has_more) return;
  for (int64_t g = 0; g < tile.grid_groups; ++g) job.weights += tile.groups[g].lines * tile.groups[g].width;
  job.groups += tile.grid_groups;
  job.group_count = 1;
  job.adds = true;
  job.factor = factor;
  band_sums<V>(job);
}

}  // namespace nearfield::core::kernel
