// The band kernel's sums for keys: each key gathers from the queries that see it, into the ring's lines. The mirror
// image of band_sums.inl: adjacent keys share each query's row.
#pragma once

#include <cstdint>

#include "engine/cpu/kernels.h"

namespace nearfield::core::kernel {

// line[p] += sum over the queries t that see position p of weight[t][p] * rows[t], on every line of the group.
template <class T>
struct Scatter {
  const BandGroup<T>* group = nullptr;
  int64_t queries = 0;
  const T* weights = nullptr;  // [queries][row], from the group's first line on
  int64_t row = 0;
  const T* rows = nullptr;    // [queries][stride]
  T* const* lines = nullptr;  // [group->lines]: [positions][stride]
  int64_t stride = 0;
  bool is_short = false;  // arcs of few positions
};

// Positions p .. p+Q of columns [c, c + M*W). The queries that see a position are an interval whose ends never
// decrease with the position, so they fall into a rising edge, a body and a falling edge, as positions do for queries.
template <class V, int Q, int M>
struct KeySums {
  using T = typename V::Scalar;
  static constexpr int W = V::kLanes;

  V sum[Q][M];
  const T* source;   // of query 0, at column c
  const T* weights;  // of query 0 at position p, as if its window began at 0
  int64_t row, stride;
  const int32_t* begin;

  template <int First, int Last>
  inline __attribute__((always_inline)) void add(int64_t from, int64_t to) {
    for (int64_t t = from; t < to; ++t) {
      const T *weight = weights + t * row - begin[t], *value = source + t * stride;
      V x[Q];
#pragma GCC unroll 12
      for (int i = First; i <= Last; ++i) x[i] = V::broadcast(weight + i);
#pragma GCC unroll 12
      for (int j = 0; j < M; ++j) {
        const V v = V::load_once(value + j * W);
#pragma GCC unroll 12
        for (int i = First; i <= Last; ++i) V::accumulate(sum[i][j], x[i], v);
      }
    }
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void rising(const int32_t* from) {
    if constexpr (I < Q) {
      add<0, I - 1>(from[I - 1], from[I]);
      rising<I + 1>(from);
    }
  }
  template <int I = 1>
  inline __attribute__((always_inline)) void falling(const int32_t* to) {
    if constexpr (I < Q) {
      add<I, Q - 1>(to[I - 1], to[I]);
      falling<I + 1>(to);
    }
  }

  static void run(const Scatter<T>& job, int64_t p, int64_t c) {
    const int32_t *from = job.group->seen_from + p, *to = job.group->seen_to + p;
    KeySums self;
    self.source = job.rows + c;
    self.row = job.row;
    self.stride = job.stride;
    self.begin = job.group->begin;
    for (int64_t line = 0; line < job.group->lines; ++line) {
      T* target = job.lines[line] + p * job.stride + c;
      self.weights = job.weights + line * job.group->width + p;
#pragma GCC unroll 12
      for (int i = 0; i < Q; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < M; ++j) self.sum[i][j] = V::load(target + i * job.stride + j * W);
      self.rising(from);
      self.template add<0, Q - 1>(from[Q - 1], to[0]);
      self.falling(to);
#pragma GCC unroll 12
      for (int i = 0; i < Q; ++i)
#pragma GCC unroll 12
        for (int j = 0; j < M; ++j) self.sum[i][j].store(target + i * job.stride + j * W);
    }
  }
};

// How many positions from p on, at most `most` and before `end`, have a query that sees all of them.
template <class T>
int64_t sharing_positions(const BandGroup<T>& group, int64_t p, int64_t end, int64_t most) {
  int64_t q = 1;
  while (q < most && p + q < end && group.seen_from[p + q] <= group.seen_to[p]) ++q;
  return q;
}

template <class V, int M, int Most>
void scatter_block(const Scatter<typename V::Scalar>& job, int64_t c) {
  const int64_t end = job.group->end[job.queries - 1];
  for (int64_t p = job.group->begin[0]; p < end;) {
    const int64_t q = sharing_positions(*job.group, p, end, Most);
    if (q == Most) {
      KeySums<V, Most, M>::run(job, p, c);
      p += Most;
    } else if (q >= 3) {
      KeySums<V, 3, M>::run(job, p, c);
      p += 3;
    } else if (q == 2) {
      KeySums<V, 2, M>::run(job, p, c);
      p += 2;
    } else {
      KeySums<V, 1, M>::run(job, p, c);
      p += 1;
    }
  }
}

// Short arcs, key by key: as sum_arcs.
template <class V, int M>
void scatter_arcs(const Scatter<typename V::Scalar>& job, int64_t c) {
  using T = typename V::Scalar;
  constexpr int W = V::kLanes;
  const BandGroup<T>& group = *job.group;
  const int64_t stride = job.stride, end = group.end[job.queries - 1];
  for (int64_t line = 0; line < group.lines; ++line) {
    T* target = job.lines[line] + c;
    const T* weights = job.weights + line * group.width;
    for (int64_t p = group.begin[0]; p < end; ++p) {
      V sum[M];
#pragma GCC unroll 8
      for (int j = 0; j < M; ++j) sum[j] = V::load(target + p * stride + j * W);
      for (int64_t t = group.seen_from[p]; t < group.seen_to[p]; ++t) {
        const V x = V::broadcast(weights + t * job.row + p - group.begin[t]);
        const T* row = job.rows + t * stride + c;
#pragma GCC unroll 8
        for (int j = 0; j < M; ++j) sum[j] = fma(x, V::load(row + j * W), sum[j]);
      }
#pragma GCC unroll 8
      for (int j = 0; j < M; ++j) sum[j].store(target + p * stride + j * W);
    }
  }
}

template <class V>
void band_scatter(const Scatter<typename V::Scalar>& job) {
  constexpr int64_t W = V::kLanes;
  int64_t c = 0;
  if (job.is_short)
    for (; c + 8 * W <= job.stride; c += 8 * W) scatter_arcs<V, 8>(job, c);
  for (; c + 4 * W <= job.stride; c += 4 * W) scatter_block<V, 4, 3>(job, c);
  for (; c + 2 * W <= job.stride; c += 2 * W) scatter_block<V, 2, 6>(job, c);
  for (; c < job.stride; c += W) scatter_block<V, 1, 6>(job, c);
}

}  // namespace nearfield::core::kernel
