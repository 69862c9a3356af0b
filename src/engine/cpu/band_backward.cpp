// Drives the band kernel's backward: strips of queries walk over the grid as in the forward; the ring holds, beside
// each key line, what its keys have gathered, and adds it to the gradients when the line leaves. Neighbouring strips
// share keys, so strips are coloured, and colours run one after another: the same sums for any number of threads.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "engine/cpu/band_gradient_workspace.h"
#include "engine/cpu/band_walk.h"
#include "engine/cpu/driver.h"
#include "engine/cpu/first_sums.h"
#include "engine/cpu/gradients.h"

namespace nearfield::core {
namespace {

template <class T>
class BandBackward : BandWalk<T> {
 public:
  BandBackward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
               const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
               SharedGradients<T>& sums, const FirstStrips& strips, void* memory)
      : BandWalk<T>(problem, choice, part, modifiers, memory),
        inputs_(inputs),
        gradients_(gradients),
        wanted_(choice.wanted),
        part_(part),
        sums_(sums),
        strips_(strips),
        own_(this->arena_, problem, kernels_, this->extent_, ws_, choice.wanted, part) {
    alongside_[0] = {&problem_.query, ws_.query_offsets};
    alongside_[1] = {&inputs_.dout, ws_.out_offsets};
    alongside_[2] = {&gradients_.query, own_.dquery_offsets};
    alongside_count_ = gradients_.query ? 3 : 2;
    if (wanted_.key) this->retiring_[this->retiring_count_++] = {&sums_.dkey, own_.dkey_offsets};
    if (wanted_.value) this->retiring_[this->retiring_count_++] = {&sums_.dvalue, own_.dvalue_offsets};
    std::fill_n(own_.additional_from, problem.shape.additional, 0);
  }

  // The part's lines of a column. next: along an order.
  void run(const Column& column, const std::optional<NextBand>& next, const BandHeads& heads,
           const BackwardTask& task) {
    const Turnstile::Turn turn(task.turnstile, task.number);
    start(column, heads);
    const int64_t group = problem_.shape.heads / problem_.shape.heads_kv;
    const auto visit = [&](const BandBlock& block, int64_t kv_head) {
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        for (int64_t t = 0; t < column.strip->size; t += kernels_.lanes) {
          if (next && head + 1 == heads.end * group)
            this->foresee_strip(column, heads, *next, t / kernels_.lanes, ceil_div(column.strip->size, kernels_.lanes));
          run_queries(column, block, heads, kv_head, head, t);
        }
        if (wanted_.bias) keep_bias(head - heads.first * group);
      }
    };
    const auto retire = [&](int64_t kv_head, const LineTag& tag, T* slot) {
      add_line(column, heads, kv_head, tag, slot);
    };
    const LineRange lines = lines_of(part_, column);
    this->walk(column, heads, lines.first, lines.end, visit, retire);
    for (int64_t kv_head = heads.first; kv_head < heads.end; ++kv_head) clear_unseen_lines(column, heads, kv_head);
    hand_in(heads, turn);
  }

 private:
  using BandWalk<T>::problem_, BandWalk<T>::modifiers_, BandWalk<T>::rank_, BandWalk<T>::kernels_, BandWalk<T>::ws_,
      BandWalk<T>::alongside_, BandWalk<T>::alongside_count_, BandWalk<T>::positions_;

  void start(const Column& column, const BandHeads& heads) {
    this->start_column(column, inputs_.dout);
    this->query_offsets(column, inputs_.logsumexp, ws_.logsumexp_offsets);
    if (inputs_.dlogsumexp) this->query_offsets(column, inputs_.dlogsumexp, own_.dlogsumexp_offsets);
    this->load_additional(heads);
    const int64_t size = column.strip->size, lanes = kernels_.lanes;
    for (int64_t t = 0; problem_.pattern.has_arcs() && t < size; t += lanes)
      for (int64_t i = 0; i < this->extent_.windows; ++i) mark_seen(t, std::min(lanes, size - t), i);
    reads_dout_in_place_ = this->rows_in_place(inputs_.dout, ws_.out_offsets, ws_.value_stride, size);
    if (wanted_.query) {
      this->query_offsets(column, gradients_.query, own_.dquery_offsets);
      writes_dquery_in_place_ = this->rows_in_place(gradients_.query, own_.dquery_offsets, ws_.key_stride, size);
    }
    const int64_t origin = column.last.table->intervals[static_cast<size_t>(column.strip->begin)].start;
    for (int64_t p = 0; p < positions_; ++p) {
      const int64_t token = column.last.far_token(origin + p);
      if (wanted_.key) own_.dkey_offsets[p] = this->placement_of(sums_.dkey).along(token);
      if (wanted_.value) own_.dvalue_offsets[p] = this->placement_of(sums_.dvalue).along(token);
    }
    find_firsts(column, heads);
    const int64_t more = problem_.shape.additional * (ws_.key_stride + ws_.value_stride);
    for (int64_t kv_head = heads.first; kv_head < heads.end; ++kv_head)
      std::fill_n(this->additional_of(heads, kv_head) + more, more, T{0});
    if (!wanted_.bias) return;
    std::fill_n(own_.block_bias, modifiers_.bias_head, T{0});
    std::fill_n(own_.task_bias, own_.task_heads * modifiers_.bias_head, 0.0);
  }

  void run_queries(const Column& column, const BandBlock& block, const BandHeads& heads, int64_t kv_head, int64_t head,
                   int64_t t) {
    BandTile<T>* const tiles = tiles_;
    const TensorView& dquery = gradients_.query;
    const auto dquery_line = [&](int64_t r) {
      return this->query_line(column, dquery, heads.batch, head, block.plane, block.row + r);
    };
    for (int64_t r = 0; r < block.count; ++r) {
      tiles[r] = this->tile_of(column, block, r, heads, kv_head, head, t);
      load_outputs(column, block, r, heads.batch, head, t, tiles[r]);
      point_at_gradients(column, block, r, heads, kv_head, t, tiles[r]);
      if (writes_dquery_in_place_) tiles[r].dquery = reinterpret_cast<T*>(dquery_line(r)) + own_.dquery_offsets[t];
    }
    if (!problem_.pattern.has_arcs()) mark_seen(t, tiles[0].queries, 0);
    std::fill_n(own_.additional_to, problem_.shape.additional, static_cast<int32_t>(tiles[0].queries));
    this->share_upcoming(column, head, t, tiles, block.count);
    kernels_.band_gradients(tiles, block.count);
    if (wanted_.bias && modifiers_.cells != nullptr)
      this->for_each_bias(column, t, tiles[0].queries, [&](int64_t entry, int64_t row, int64_t p) {
        own_.block_bias[entry] += own_.dbias_rows[row + p];
      });
    for (int64_t r = 0; r < block.count && wanted_.query && !writes_dquery_in_place_; ++r)
      kernels_.store_rows(tiles[r].dquery, ws_.key_stride, tiles[r].queries, problem_.shape.head_dim, dquery_line(r),
                          dquery.dtype, own_.dquery_offsets + t);
  }

  // The forward's logsumexp, and gradients of its results. Its out is not read: the kernel has what it stands for.
  void load_outputs(const Column& column, const BandBlock& block, int64_t r, int64_t batch, int64_t head, int64_t t,
                    BandTile<T>& tile) {
    const int64_t lanes = kernels_.lanes, channels = problem_.shape.head_dim_v, stride = ws_.value_stride;
    const auto line = [&](const TensorView& tensor) {
      return this->query_line(column, tensor, batch, head, block.plane, block.row + r);
    };
    if (reads_dout_in_place_) {
      tile.dout = reinterpret_cast<const T*>(line(inputs_.dout)) + ws_.out_offsets[t];
    } else {
      T* dout = own_.dout + r * lanes * stride;
      kernels_.load_rows(line(inputs_.dout), inputs_.dout.dtype, ws_.out_offsets + t, tile.queries, channels, T{1},
                         dout, stride);
      tile.dout = dout;
    }
    tile.logsumexp = ws_.logsumexp + r * lanes;
    const auto load = [&](const TensorView& tensor, const int64_t* offsets, T* values) {
      const std::byte* from = line(tensor);
      for (int64_t i = 0; i < tile.queries; ++i)
        std::memcpy(values + i, from + offsets[t + i] * static_cast<int64_t>(sizeof(T)), sizeof(T));
    };
    load(inputs_.logsumexp, ws_.logsumexp_offsets, tile.logsumexp);
    for (int64_t i = 0; i < tile.queries; ++i) {
      const bool sees_nothing = std::isinf(tile.logsumexp[i]) && tile.logsumexp[i] < 0;
      tile.logsumexp[i] = sees_nothing ? -kMaskedScore<T> : tile.logsumexp[i] * static_cast<T>(kLog2e);
    }
    if (!inputs_.dlogsumexp) return;
    T* dlogsumexp = own_.dlogsumexp + r * lanes;
    load(inputs_.dlogsumexp, own_.dlogsumexp_offsets, dlogsumexp);
    tile.dlogsumexp = dlogsumexp;
  }

  void point_at_gradients(const Column& column, const BandBlock& block, int64_t r, const BandHeads& heads,
                          int64_t kv_head, int64_t t, BandTile<T>& tile) {
    const int64_t lanes = kernels_.lanes, first = r * this->extent_.lines();
    const SlotLayout& slot = ws_.slot;
    tile.scale = static_cast<T>(problem_.scale);
    if (own_.slopes != nullptr) tile.slopes = own_.slopes + r * lanes * ws_.row;
    if (own_.dscores != nullptr) tile.dscores = own_.dscores + r * lanes * ws_.row;
    if (wanted_.query) tile.dquery = own_.dquery + r * lanes * ws_.key_stride;
    for (int64_t i = first; i < first + block.lines[r]; ++i) {
      T* packed = const_cast<T*>(ws_.keys[i]);  // the ring is this object's own
      if (wanted_.key) own_.dkeys[i] = packed + slot.dkeys;
      if (wanted_.value) own_.dvalues[i] = packed + slot.dvalues;
      if (wanted_.key_weights) own_.dlog_weights[i] = packed + slot.dlog_weights;
    }
    BandGroup<T>* groups = this->groups_of(r);
    int64_t line = first;
    for (int64_t g = 0; g < tile.grid_groups; line += groups[g++].lines) {
      BandGroup<T>& group = groups[g];
      const int64_t seen = seen_at(t, (group.begin - ws_.begin) / this->extent_.strip);
      group.seen_from = own_.seen_from + seen;
      group.seen_to = own_.seen_to + seen;
      if (wanted_.key) group.dkeys = own_.dkeys + line;
      if (wanted_.value) group.dvalues = own_.dvalues + line;
      if (wanted_.key_weights) group.dlog_weights = own_.dlog_weights + line;
      if (modifiers_.weightless != nullptr) group.weightless = ws_.weightless + line;
    }
    if (wanted_.bias) {
      if (modifiers_.cells != nullptr) {
        this->for_each_bias(column, t, tile.queries,
                            [&](int64_t, int64_t row, int64_t p) { own_.dbias_rows[row + p] = 0; });
        own_.dbias[0] = own_.dbias_rows;
      } else {
        this->point_at_bias(column, block, r, own_.block_bias, t, own_.dbias + first);
      }
      groups[0].dbias = own_.dbias + first;
    }
    if (tile.group_count == tile.grid_groups) return;
    BandGroup<T>& more = groups[tile.grid_groups];
    const int64_t count = problem_.shape.additional, ring = kv_head - heads.first;
    own_.dadditional[2 * ring] = this->additional_of(heads, kv_head) + count * (ws_.key_stride + ws_.value_stride);
    own_.dadditional[2 * ring + 1] = own_.dadditional[2 * ring] + count * ws_.key_stride;
    more.seen_from = own_.additional_from;
    more.seen_to = own_.additional_to;
    if (wanted_.additional_keys) more.dkeys = own_.dadditional + 2 * ring;
    if (wanted_.additional_values) more.dvalues = own_.dadditional + 2 * ring + 1;
  }

  // Which of the queries t .. t + queries see each position: the transpose of one of their windows.
  void mark_seen(int64_t t, int64_t queries, int64_t window) {
    const int64_t at = window * this->extent_.strip + t, seen = seen_at(t, window);
    const int32_t *begin = ws_.begin + at, *end = ws_.end + at;
    int32_t from = 0, to = 0;
    for (int32_t p = begin[0]; p < end[queries - 1]; ++p) {
      while (from < queries && end[from] <= p) ++from;
      while (to < queries && begin[to] <= p) ++to;
      own_.seen_from[seen + p] = from;
      own_.seen_to[seen + p] = std::max(from, to);
    }
  }
  int64_t seen_at(int64_t t, int64_t window) const {
    const int64_t tile = problem_.pattern.has_arcs() ? t / kernels_.lanes : 0;
    return (tile * this->extent_.windows + window) * this->extent_.positions;
  }

  // Runs of positions whose sums this strip is the first to write, if it comes to their lines first.
  void find_firsts(const Column& column, const BandHeads& heads) {
    firsts_.clear();
    if (part_.first_rows.length == 0) return;
    for (int64_t p = 0, next = 0; p < positions_; p = next) {
      const bool is_first = strips_.is_first(column, p);
      while (next < positions_ && strips_.is_first(column, next) == is_first) ++next;
      if (is_first) firsts_.push_back({p, next - p});
    }
    std::fill_n(own_.written, (heads.end - heads.first) * own_.key_lines, uint8_t{0});
  }

  // Whether nobody has written the key line yet, as far as this strip is the first there. From then on somebody has.
  bool comes_first(const Column& column, const BandHeads& heads, int64_t kv_head, const LineTag& tag) {
    const Interval& rows = part_.first_rows;
    const int64_t row = column.outer[1].far_index(tag.row), plane = column.outer[0].far_index(tag.plane);
    if (row < rows.start || row >= rows.end()) return false;
    uint8_t& written = own_.written[(kv_head - heads.first) * own_.key_lines + plane * column.outer[1].far() + row];
    return std::exchange(written, uint8_t{1}) == 0;
  }

  // Lines that no query of the part sees.
  void clear_unseen_lines(const Column& column, const BandHeads& heads, int64_t kv_head) {
    if (firsts_.empty()) return;
    for (int64_t z = 0; z < column.outer[0].far(); ++z)
      for (int64_t y = 0; y < column.outer[1].far(); ++y)
        if (const LineTag tag{z, y}; comes_first(column, heads, kv_head, tag)) clear_line(column, heads, kv_head, tag);
  }
  void clear_line(const Column& column, const BandHeads& heads, int64_t kv_head, const LineTag& tag) {
    const auto clear = [&](const TensorView& sums, const int64_t* offsets) {
      const auto size = static_cast<size_t>(sums.sizes[rank_ + 2]) * sizeof(T);
      std::byte* line = this->key_line(column, sums, heads.batch, kv_head, tag);
      for (const Interval& run : firsts_)
        for (int64_t p = run.start; p < run.end(); ++p)
          std::memset(line + offsets[p] * static_cast<int64_t>(sizeof(T)), 0, size);
    };
    if (wanted_.key) clear(sums_.dkey, own_.dkey_offsets);
    if (wanted_.value) clear(sums_.dvalue, own_.dvalue_offsets);
  }

  // A key line leaves the ring.
  void add_line(const Column& column, const BandHeads& heads, int64_t kv_head, const LineTag& tag, T* packed) {
    const SlotLayout& slot = ws_.slot;
    if (slot.log_weights >= 0) blank_absent_keys(packed);
    const bool first = !firsts_.empty() && comes_first(column, heads, kv_head, tag);
    const auto add = [&](const TensorView& sums, const T* rows, int64_t stride, T factor, const int64_t* offsets) {
      std::byte* line = this->key_line(column, sums, heads.batch, kv_head, tag);
      const auto part = [&](auto write, int64_t begin, int64_t end) {
        if (begin < end)
          write(rows + begin * stride, stride, end - begin, sums.sizes[rank_ + 2], factor, line, offsets + begin);
      };
      int64_t done = 0;
      for (size_t i = 0; first && i < firsts_.size(); done = firsts_[i++].end()) {
        part(kernels_.add_rows, done, firsts_[i].start);
        part(kernels_.put_rows, firsts_[i].start, firsts_[i].end());
      }
      part(kernels_.add_rows, done, positions_);
    };
    // The packed queries hold scale * log2(e).
    if (wanted_.key) add(sums_.dkey, packed + slot.dkeys, ws_.key_stride, static_cast<T>(kLn2), own_.dkey_offsets);
    if (wanted_.value) add(sums_.dvalue, packed + slot.dvalues, ws_.value_stride, T{1}, own_.dvalue_offsets);
    if (!wanted_.key_weights) return;
    T* target = sums_.dlog_weights + (heads.batch * problem_.shape.heads_kv + kv_head) * problem_.key_tokens() +
                this->token_line(column, tag);
    for (int64_t p = 0; p < positions_; ++p) target[ws_.token_offsets[p]] += packed[slot.dlog_weights + p];
  }

  // Masked keys, and keys of weight 0, have gradients of exactly 0, even where a query or its dout is not finite.
  void blank_absent_keys(T* packed) {
    const SlotLayout& slot = ws_.slot;
    for (int64_t p = 0; p < positions_; ++p) {
      const bool is_masked = packed[slot.log_weights + p] == kMaskedScore<T>;
      const bool is_weightless = slot.weightless >= 0 && packed[slot.weightless + p] != 0;
      if (!is_masked && !is_weightless) continue;
      if (slot.dkeys >= 0) std::fill_n(packed + slot.dkeys + p * ws_.key_stride, ws_.key_stride, T{0});
      if (slot.dvalues >= 0) std::fill_n(packed + slot.dvalues + p * ws_.value_stride, ws_.value_stride, T{0});
      if (is_masked && slot.dlog_weights >= 0) packed[slot.dlog_weights + p] = 0;
    }
  }

  // float sums of one block are added up in double.
  void keep_bias(int64_t task_head) {
    double* kept = own_.task_bias + task_head * modifiers_.bias_head;
    for (int64_t i = 0; i < modifiers_.bias_head; ++i) kept[i] += static_cast<double>(own_.block_bias[i]);
    std::fill_n(own_.block_bias, modifiers_.bias_head, T{0});
  }

  // What the task has summed over its queries.
  void hand_in(const BandHeads& heads, const Turnstile::Turn& turn) {
    const Shape& shape = problem_.shape;
    if (!wanted_.bias && !wanted_.additional_keys && !wanted_.additional_values) return;
    turn.wait();
    const int64_t group = shape.heads / shape.heads_kv, more = shape.additional;
    if (wanted_.bias) {
      double* total = sums_.dbias + heads.first * group * modifiers_.bias_head;
      const int64_t entries = (heads.end - heads.first) * group * modifiers_.bias_head;
      for (int64_t i = 0; i < entries; ++i) total[i] += own_.task_bias[i];
    }
    for (int64_t kv_head = heads.first; kv_head < heads.end; ++kv_head) {
      const T* keys = this->additional_of(heads, kv_head) + more * (ws_.key_stride + ws_.value_stride);
      const int64_t first = (heads.batch * shape.heads_kv + kv_head) * more;
      const auto add = [&](double* total, const T* rows, int64_t stride, int64_t channels, double factor) {
        for (int64_t i = 0; i < more; ++i)
          for (int64_t c = 0; c < channels; ++c)
            total[(first + i) * channels + c] += factor * static_cast<double>(rows[i * stride + c]);
      };
      if (wanted_.additional_keys) add(sums_.dadditional_keys, keys, ws_.key_stride, shape.head_dim, kLn2);
      if (wanted_.additional_values)
        add(sums_.dadditional_values, keys + more * ws_.key_stride, ws_.value_stride, shape.head_dim_v, 1);
    }
  }

  const BackwardInputs& inputs_;
  const Gradients& gradients_;
  const GradientsWanted wanted_;
  const CpuPart& part_;
  SharedGradients<T>& sums_;
  const FirstStrips& strips_;
  BandGradientWorkspace<T> own_;
  bool reads_dout_in_place_ = false, writes_dquery_in_place_ = false;  // the strip at hand
  std::vector<Interval> firsts_;                                       // positions
  BandTile<T> tiles_[kMostBandTiles];
};

// The columns of one (batch, head), by colour.
std::vector<std::vector<int64_t>> columns_by_colour(const Plan& plan, const FirstStrips& strips) {
  std::vector<std::vector<int64_t>> columns;
  for (int64_t i = 0; i < column_count(plan); ++i) {
    const auto colour = static_cast<size_t>(strips.colour_of(column_at(plan, i)));
    if (columns.size() <= colour) columns.resize(colour + 1);
    columns[colour].push_back(i);
  }
  return columns;
}

}  // namespace

template <class T>
void band_backward(const Problem& problem, const BackwardInputs& inputs, const Gradients& gradients,
                   const CpuChoice& choice, const CpuPart& part, const SharedModifiers<T>& modifiers,
                   SharedGradients<T>& sums, std::byte* slots) {
  const Plan& plan = *part.plan;
  const int64_t together = part.heads_together, kv_heads = problem.shape.heads_kv;
  const FirstStrips strips(plan);
  const auto make = [&](std::byte* memory) {
    return BandBackward<T>(problem, inputs, gradients, choice, part, modifiers, sums, strips, memory);
  };
  const auto run = [&](BandBackward<T>& pass, int64_t column, const BackwardTask& task, const int64_t* next_column,
                       const BackwardTask& next_task) {
    const auto heads_of = [&](const BackwardTask& of) {
      const int64_t first = of.group * together;
      return BandHeads{of.batch, first, std::min(first + together, kv_heads)};
    };
    std::optional<NextBand> next;
    if (problem.pattern.order && next_column != nullptr) next = {column_at(plan, *next_column), heads_of(next_task)};
    pass.run(column_at(plan, column), next, heads_of(task), task);
  };
  run_by_colour(problem, choice, sums, slots, columns_by_colour(plan, strips), ceil_div(kv_heads, together), make, run);
}

template void band_backward<float>(const Problem&, const BackwardInputs&, const Gradients&, const CpuChoice&,
                                   const CpuPart&, const SharedModifiers<float>&, SharedGradients<float>&, std::byte*);
template void band_backward<double>(const Problem&, const BackwardInputs&, const Gradients&, const CpuChoice&,
                                    const CpuPart&, const SharedModifiers<double>&, SharedGradients<double>&,
                                    std::byte*);

}  // namespace nearfield::core
