// Drives the tile kernel's backward: tiles of queries against boxes of keys, whose gradients lie in memory and are
// added to in place. Slabs of tiles share keys with their neighbours, so slabs are coloured, and colours run one after
// another: the same sums for any number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/cpu/driver.h"
#include "engine/cpu/gradients.h"
#include "engine/cpu/slabs.h"
#include "engine/cpu/tile_gradient_workspace.h"

namespace nearfield::core {
namespace {

template <class T>
class TileBackward : TileWalk<T> {
 public:
  TileBackward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
               const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
               SharedGradients<T>& sums, void* memory)
      : TileWalk<T>(problem, choice, part, modifiers, memory),
        inputs_(inputs),
        gradients_(gradients),
        wanted_(choice.wanted),
        sums_(sums),
        own_(this->arena_, problem, kernels_, ws_, choice.wanted) {}

  // Tiles [first_tile, end_tile) for all heads of a key/value head.
  void run(const BackwardTask& task, int64_t first_tile, int64_t end_tile) {
    const Turnstile::Turn turn(task.turnstile, task.number);
    const int64_t group = problem_.shape.heads / problem_.shape.heads_kv, batch = task.batch, kv_head = task.group;
    start(batch, kv_head, turn);
    for (int64_t member = 0; member < group; ++member)
      for (int64_t index = first_tile; index < end_tile; ++index) {
        const Tile tile = plan_.tile(index);
        this->expand(tile, steps_);
        upcoming_ = 0;
        if (const auto next = this->next_tile(tile, index, end_tile))
          foresee(*next, batch, kv_head, kv_head * group + member);
        run_tile(tile, batch, kv_head, kv_head * group + member, member);
      }
    if (!own_.adds_in_turn) hand_in(kv_head, turn);
  }

 private:
  using TileWalk<T>::problem_, TileWalk<T>::modifiers_, TileWalk<T>::plan_, TileWalk<T>::kernels_, TileWalk<T>::ws_,
      TileWalk<T>::upcoming_;

  // Where the task's sums over its queries begin.
  void start(int64_t batch, int64_t kv_head, const Turnstile::Turn& turn) {
    const Shape& shape = problem_.shape;
    const int64_t bias = shape.heads / shape.heads_kv * modifiers_.bias_head;
    if (own_.adds_in_turn) {
      turn.wait();
      if (wanted_.bias) task_bias_ = sums_.dbias + kv_head * bias;
    } else {
      clear_additional();
      if (wanted_.bias) std::fill_n(own_.task_bias, bias, 0.0);
      task_bias_ = own_.task_bias;
    }
    first_additional_ = (batch * shape.heads_kv + kv_head) * shape.additional;
  }

  void foresee(const NextTile& next, int64_t batch, int64_t kv_head, int64_t head) {
    UpcomingRows upcoming(ws_.upcoming, kMostUpcomingRows);
    const auto near = [&](const TensorView& t) { next.add_near(HeadView(t, problem_.pattern, batch, head), upcoming); };
    const auto far = [&](const TensorView& t) {
      next.add_far(HeadView(t, problem_.pattern, batch, kv_head), upcoming);
    };
    near(problem_.query), near(inputs_.out), near(inputs_.dout);
    far(problem_.key), far(problem_.value);
    if (wanted_.query) near(gradients_.query);
    if (wanted_.key) far(sums_.dkey);
    if (wanted_.value) far(sums_.dvalue);
    upcoming_ = upcoming.count();
  }

  void clear_additional() {
    const Shape& shape = problem_.shape;
    std::fill_n(own_.additional, own_.additional_rows * (shape.head_dim + shape.head_dim_v), T{0});
  }

  void run_tile(const Tile& tile, int64_t batch, int64_t kv_head, int64_t head, int64_t member) {
    const Shape& shape = problem_.shape;
    const HeadView query(problem_.query, problem_.pattern, batch, head);
    const int64_t lanes = kernels_.tile_queries;
    const int64_t queries = this->load_tile(query, tile, static_cast<T>(problem_.scale * kLog2e), ws_.key_stride,
                                            ws_.query_rows, ws_.query);
    load_outputs(tile, batch, head, queries);
    // Logits are in log2 units, gradients are not.
    for (int64_t i = 0; i < lanes * ws_.key_stride; ++i) own_.query_rows[i] = ws_.query_rows[i] * static_cast<T>(kLn2);
    std::fill_n(own_.dquery, shape.head_dim * lanes, T{0});
    const bool clean =
        all_finite(ws_.query_rows, queries, ws_.key_stride) && all_finite(own_.dout_rows, queries, ws_.value_stride);
    const HeadView key(problem_.key, problem_.pattern, batch, kv_head),
        value(problem_.value, problem_.pattern, batch, kv_head);
    if (wanted_.scores() && has_few_keys()) sum_terms(tile, key, value, batch, kv_head, head);
    const std::vector<Bundle>& bundles = steps_.bundles;
    for (size_t s = 0; s < bundles.size(); ++s) {
      const Bundle bundle = bundles[s];
      TileGradients<T> work = gradients_of(this->step_of(tile, bundle, key, value, batch, head));
      this->share_upcoming(s, bundles.size(), work.step);
      point_at_gradients(tile, bundle, batch, kv_head, work);
      const bool apart =
          work.step.visible != nullptr && !(clean && kernels_.all_finite(ws_.keys, work.step.count, shape.head_dim) &&
                                            kernels_.all_finite(ws_.values, work.step.count, shape.head_dim_v));
      if (apart) {
        run_one_by_one(work, queries, [&] { keep(tile, bundle, batch, kv_head, member, work); });
      } else {
        kernels_.tile_gradients(work);
        keep(tile, bundle, batch, kv_head, member, work);
      }
    }
    const int64_t together = own_.adds_in_turn && own_.additional_rows > 0 ? own_.additional_rows : kStepKeys;
    for (int64_t first = 0; first < shape.additional; first += together) {
      TileGradients<T> work = gradients_of(this->additional_step(first, batch, kv_head, together));
      const int64_t at = own_.adds_in_turn ? 0 : first;  // in the task's buffer
      if (own_.adds_in_turn) clear_additional();
      point_at_additional(at, work);
      kernels_.tile_gradients(work);
      if (own_.adds_in_turn) add_additional(first, work.step.count);
    }
    if (wanted_.query) store_dquery(tile, batch, head, queries);
  }

  // With few keys a weight may be near 1, and P dP - P D a small difference: D from an out that was rounded to 16 bits
  // would be felt. With many it is not, and a second pass would cost.
  bool has_few_keys() const {
    return problem_.query.dtype != accumulator_of(problem_.query.dtype) && steps_.bundles.size() <= 2;
  }
  void sum_terms(const Tile& tile, const HeadView& key, const HeadView& value, int64_t batch, int64_t kv_head,
                 int64_t head) {
    std::fill_n(own_.terms, kernels_.tile_queries, T{0});
    for (const Bundle bundle : steps_.bundles) {
      TileGradients<T> work = gradients_of(this->step_of(tile, bundle, key, value, batch, head));
      point_at_gradients(tile, bundle, batch, kv_head, work);
      kernels_.tile_terms(work, own_.terms);
    }
    for (int64_t first = 0; first < problem_.shape.additional; first += kStepKeys)
      kernels_.tile_terms(gradients_of(this->additional_step(first, batch, kv_head)), own_.terms);
    for (int64_t t = 0; t < kernels_.tile_queries; ++t) own_.d[t] = own_.terms[t] - own_.dlogsumexp[t];
  }

  bool all_finite(const T* rows, int64_t count, int64_t stride) {
    for (int64_t i = 0; i < count; ++i) own_.row[i] = rows + i * stride;
    return kernels_.all_finite(own_.row, count, stride);
  }

  // What the forward has left, and the gradients of it; D of every query.
  void load_outputs(const Tile& tile, int64_t batch, int64_t head, int64_t queries) {
    const int64_t lanes = kernels_.tile_queries, stride = ws_.value_stride;
    this->load_tile(HeadView(inputs_.out, problem_.pattern, batch, head), tile, T{1}, stride, own_.out_rows, own_.dout);
    this->load_tile(HeadView(inputs_.dout, problem_.pattern, batch, head), tile, T{1}, stride, own_.dout_rows,
                    own_.dout);
    load_scalars(inputs_.logsumexp, tile, batch, head, queries, ws_.logsumexp);
    for (int64_t t = 0; t < lanes; ++t) {
      const bool sees_nothing = t >= queries || (std::isinf(ws_.logsumexp[t]) && ws_.logsumexp[t] < 0);
      ws_.logsumexp[t] = sees_nothing ? -kMaskedScore<T> : ws_.logsumexp[t] * static_cast<T>(kLog2e);
      own_.dlogsumexp[t] = 0;
    }
    if (inputs_.dlogsumexp) load_scalars(inputs_.dlogsumexp, tile, batch, head, queries, own_.dlogsumexp);
    for (int64_t t = 0; t < lanes; ++t) {
      T sum = 0;
      for (int64_t c = 0; c < stride; ++c) sum += own_.dout_rows[t * stride + c] * own_.out_rows[t * stride + c];
      own_.d[t] = sum - own_.dlogsumexp[t];
    }
  }

  void load_scalars(const TensorView& tensor, const Tile& tile, int64_t batch, int64_t head, int64_t queries,
                    T* values) {
    this->tile_box(tile, Placement(problem_.pattern, tensor.strides + 1), ws_.query_offsets);
    const int64_t base = batch * tensor.strides[0] + head * tensor.strides[problem_.shape.rank + 1];
    for (int64_t t = 0; t < queries; ++t) std::memcpy(values + t, tensor.at(base + ws_.query_offsets[t]), sizeof(T));
  }

  TileGradients<T> gradients_of(const TileStep<T>& step) {
    TileGradients<T> work;
    work.step = step;
    work.step.slopes = own_.slopes;
    work.dout = own_.dout;
    work.query_rows = own_.query_rows;
    work.dout_rows = own_.dout_rows;
    work.key_stride = ws_.key_stride;
    work.value_stride = ws_.value_stride;
    work.logsumexp = ws_.logsumexp;
    work.d = own_.d;
    work.dscores = own_.dscores;
    if (wanted_.query) work.dquery = own_.dquery;
    return work;
  }

  // The step's rows of the gradients. Those of absent keys go nowhere.
  void point_at_gradients(const Tile& tile, Bundle bundle, int64_t batch, int64_t kv_head, TileGradients<T>& work) {
    const int64_t count = work.step.count;
    if (modifiers_.weightless != nullptr) {
      this->bundle_offsets(tile, bundle, modifiers_.tokens);
      const T* weightless = modifiers_.weightless_of(batch);
      for (int64_t i = 0; i < count; ++i) own_.weightless[i] = weightless[ws_.offsets[i]];
      work.weightless = own_.weightless;
    }
    auto* sink = reinterpret_cast<std::byte*>(own_.sink);
    const auto point = [&](const TensorView& sums, std::byte** rows) {
      const HeadView head(sums, problem_.pattern, batch, kv_head);
      this->bundle_offsets(tile, bundle, head.placement);
      for (int64_t i = 0; i < count; ++i) {
        const bool is_absent = (work.step.log_weights != nullptr && work.step.log_weights[i] == kMaskedScore<T>) ||
                               (work.weightless != nullptr && work.weightless[i] != 0);
        rows[i] = is_absent ? sink : head.at(ws_.offsets[i]);
      }
    };
    if (wanted_.key) point(sums_.dkey, own_.dkeys), work.dkeys = own_.dkeys;
    if (wanted_.value) point(sums_.dvalue, own_.dvalues), work.dvalues = own_.dvalues;
    if (wanted_.bias) work.dbias = own_.dbias;
    if (wanted_.key_weights) work.dlog_weights = own_.dlog_weights;
  }

  void point_at_additional(int64_t first, TileGradients<T>& work) {
    const Shape& shape = problem_.shape;
    T *keys = own_.additional, *values = keys + own_.additional_rows * shape.head_dim;
    for (int64_t i = 0; i < work.step.count; ++i) {
      own_.dkeys[i] = reinterpret_cast<std::byte*>(keys + (first + i) * shape.head_dim);
      own_.dvalues[i] = reinterpret_cast<std::byte*>(values + (first + i) * shape.head_dim_v);
    }
    if (wanted_.additional_keys) work.dkeys = own_.dkeys;
    if (wanted_.additional_values) work.dvalues = own_.dvalues;
  }

  // Something is not finite, and some queries do not see it: 0 times it would be NaN. Each query runs alone, the others
  // blank, and so are the keys that it does not see.
  template <class Keep>
  void run_one_by_one(TileGradients<T>& work, int64_t queries, Keep keep_sums) {
    const TileGradients<T> all = work;
    const int64_t lanes = kernels_.tile_queries, count = all.step.count;
    auto* sink = reinterpret_cast<std::byte*>(own_.sink);
    for (int64_t t = 0; t < queries; ++t) {
      const auto isolate = [&](const T* rows, int64_t stride, T* alone, T* columns_first) {
        std::fill_n(alone, lanes * stride, T{0});
        std::copy_n(rows + t * stride, stride, alone + t * stride);
        kernels_.transpose_tile(alone, stride, stride, columns_first);
      };
      isolate(ws_.query_rows, all.key_stride, own_.alone_rows, own_.alone);
      isolate(all.query_rows, all.key_stride, own_.alone_rows, own_.alone_scaled);
      isolate(all.dout_rows, all.value_stride, own_.alone_dout_rows, own_.alone_dout);
      std::fill_n(own_.alone_logsumexp, lanes, -kMaskedScore<T>);
      own_.alone_logsumexp[t] = all.logsumexp[t];
      work = all;
      this->hide_from(t, work.step);
      for (int64_t i = 0; i < count; ++i) {
        const bool seen = (all.step.visible[i] >> t & 1) != 0;
        if (all.dkeys != nullptr) own_.kept_dkeys[i] = seen ? all.dkeys[i] : sink;
        if (all.dvalues != nullptr) own_.kept_dvalues[i] = seen ? all.dvalues[i] : sink;
        ws_.axis_bits[i] = seen ? uint32_t{1} << t : 0;
      }
      work.step.visible = ws_.axis_bits;
      work.step.query = own_.alone;
      work.query_rows = own_.alone_rows;
      work.dout = own_.alone_dout;
      work.dout_rows = own_.alone_dout_rows;
      work.logsumexp = own_.alone_logsumexp;
      if (all.dkeys != nullptr) work.dkeys = own_.kept_dkeys;
      if (all.dvalues != nullptr) work.dvalues = own_.kept_dvalues;
      if (all.dquery != nullptr) work.dquery = own_.alone_dquery;
      const int64_t channels = all.step.head_dim;
      std::copy_n(own_.dquery, channels * lanes, own_.alone_dquery);  // sums go on where they were
      kernels_.tile_gradients(work);
      for (int64_t c = 0; c < channels; ++c) own_.dquery[c * lanes + t] = own_.alone_dquery[c * lanes + t];
      keep_sums();
    }
  }

  // What the kernel has summed per key or pair, and not added itself.
  void keep(const Tile& tile, Bundle bundle, int64_t batch, int64_t kv_head, int64_t member,
            const TileGradients<T>& work) {
    if (work.dbias != nullptr) {
      double* kept = task_bias_ + member * modifiers_.bias_head;
      const int64_t lanes = kernels_.tile_queries;
      for (int64_t i = 0; i < work.step.count * lanes; ++i)
        kept[ws_.bias_index[i]] += static_cast<double>(work.dbias[i]);
    }
    if (work.dlog_weights == nullptr) return;
    const int64_t count = this->bundle_offsets(tile, bundle, modifiers_.tokens);
    T* target = sums_.dlog_weights + (batch * problem_.shape.heads_kv + kv_head) * problem_.key_tokens();
    for (int64_t i = 0; i < count; ++i)
      if (work.step.log_weights[i] != kMaskedScore<T>) target[ws_.offsets[i]] += work.dlog_weights[i];
  }

  void store_dquery(const Tile& tile, int64_t batch, int64_t head, int64_t queries) {
    const HeadView dquery(gradients_.query, problem_.pattern, batch, head);
    kernels_.tile_rows(own_.dquery, problem_.shape.head_dim, static_cast<T>(problem_.scale), own_.dquery_rows,
                       ws_.key_stride);
    this->tile_box(tile, dquery.placement, ws_.query_offsets);
    kernels_.store_rows(own_.dquery_rows, ws_.key_stride, queries, dquery.channels, dquery.data, dquery.dtype,
                        ws_.query_offsets);
  }

  // What the task has summed over its queries.
  void hand_in(int64_t kv_head, const Turnstile::Turn& turn) {
    const Shape& shape = problem_.shape;
    if (!wanted_.bias && !wanted_.additional_keys && !wanted_.additional_values) return;
    turn.wait();
    const int64_t group = shape.heads / shape.heads_kv;
    if (wanted_.bias) {
      double* total = sums_.dbias + kv_head * group * modifiers_.bias_head;
      for (int64_t i = 0; i < group * modifiers_.bias_head; ++i) total[i] += own_.task_bias[i];
    }
    add_additional(0, shape.additional);
  }

  // The buffer's first `count` rows to the gradients of additional keys and values from `first` on.
  void add_additional(int64_t first, int64_t count) {
    const Shape& shape = problem_.shape;
    const auto add = [&](double* total, const T* rows, int64_t channels) {
      total += (first_additional_ + first) * channels;
      for (int64_t i = 0; i < count * channels; ++i) total[i] += static_cast<double>(rows[i]);
    };
    if (wanted_.additional_keys) add(sums_.dadditional_keys, own_.additional, shape.head_dim);
    if (wanted_.additional_values)
      add(sums_.dadditional_values, own_.additional + own_.additional_rows * shape.head_dim, shape.head_dim_v);
  }

  const BackwardInputs& inputs_;
  const Gradients& gradients_;
  const GradientsWanted wanted_;
  SharedGradients<T>& sums_;
  TileGradientWorkspace<T> own_;
  TileSteps steps_;
  double* task_bias_ = nullptr;   // [heads of the group][bias_head]
  int64_t first_additional_ = 0;  // of the task's image and head
};

}  // namespace

template <class T>
void tile_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                   const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
                   SharedGradients<T>& sums, std::byte* slots) {
  const auto make = [&](std::byte* memory) {
    return TileBackward<T>(problem, inputs, gradients, choice, part, modifiers, sums, memory);
  };
  const auto run = [](TileBackward<T>& pass, const Slab& slab, const BackwardTask& task, const Slab*,
                      const BackwardTask&) { pass.run(task, slab.first, slab.end); };
  run_by_colour(problem, choice, sums, slots, slabs_by_colour(*part.plan, tiles_of(part)), problem.shape.heads_kv, make,
                run);
}

template void tile_backward<float>(const Problem&, const BackwardInputs&, const Gradients&, const CpuChoice&,
                                   const CpuPart&, const SharedModifiers<float>&, SharedGradients<float>&, std::byte*);
template void tile_backward<double>(const Problem&, const BackwardInputs&, const Gradients&, const CpuChoice&,
                                    const CpuPart&, const SharedModifiers<double>&, SharedGradients<double>&,
                                    std::byte*);

}  // namespace nearfield::core
