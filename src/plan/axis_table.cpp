#include "plan/axis_table.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"

namespace nearfield::core {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

int32_t narrow(size_t value) {
  if (value > static_cast<size_t>(kMaxInt32)) unsupported("plan: an axis has more than ", kMaxInt32, " runs or spans");
  return static_cast<int32_t>(value);
}

void check_intervals(const AxisRequest& request) {
  auto fail = [](auto&&... parts) { throw Error(Status::internal_error, concat("plan: ", parts...)); };
  const std::vector<Interval>& all = request.intervals;
  for (size_t x = 0; x < all.size(); ++x) {
    const Interval i = all[x];
    if (x > 0 && (i.start < all[x - 1].start || i.end() < all[x - 1].end()))
      fail("starts and ends must not decrease, but do at ", x, ": [", all[x - 1].start, ", ", all[x - 1].end(),
           ") comes before [", i.start, ", ", i.end(), ")");
    if (i.length < 0 || i.length > request.far) fail("interval of ", i.length, " tokens on an axis of ", request.far);
    if (!request.wraps && i.length > 0 && (i.start < 0 || i.end() > request.far))
      fail("interval [", i.start, ", ", i.end(), ") leaves an axis of ", request.far, " that does not wrap");
  }
}

class Builder {
 public:
  explicit Builder(AxisRequest&& request) : request_(std::move(request)) {
    check_intervals(request_);
    request_.far_extent = min_of(request_.far_extent, kMaxInt32);
    table_.near = static_cast<int64_t>(request_.intervals.size());
    table_.far = request_.far;
  }

  AxisTable build() {
    const int64_t before = floor_mod(request_.phase, request_.near_extent);  // of the first tile, cut away
    const int64_t extent = min_of(request_.near_extent, table_.near + before);
    for (int64_t begin = table_.near == 0 ? 0 : -before; begin < table_.near; begin += extent) {
      AxisTile tile;
      tile.begin = max_of(begin, 0);
      tile.size = min_of(begin + extent, table_.near) - tile.begin;
      add_runs(tile);
      table_.tiles.push_back(tile);
    }
    table_.tiles.shrink_to_fit();
    table_.runs.shrink_to_fit();
    table_.spans.shrink_to_fit();
    table_.intervals = std::move(request_.intervals);
    return std::move(table_);
  }

 private:
  void add_runs(AxisTile& tile) {
    const int64_t n = request_.far;
    const Hull hull =
        hull_of(std::span(request_.intervals).subspan(tile.begin, tile.size), n, request_.wraps && !request_.keep_laps);
    has_cuts_ = false;
    tile.first_run = narrow(table_.runs.size());
    for (int64_t begin = hull.begin; begin < hull.end;) {
      const int64_t lap = floor_div(begin, n);
      const int64_t end = min_of(hull.end, (lap + 1) * n);
      const int64_t common_begin = clamp_to(hull.common_begin, begin, end);
      const int64_t common_end = clamp_to(hull.common_end, common_begin, end);
      pieces_.clear();
      split_evenly(end - begin, common_begin - begin, common_end - begin, request_.far_extent, pieces_);
      for (const EqualPieces& equal : pieces_) {
        add_equal(tile, hull, equal, begin, lap);
        begin += equal.size * equal.count;
      }
    }
    tile.runs = narrow(table_.runs.size()) - tile.first_run;
  }

  // Where an interval of the tile begins or ends, in the hull's coordinates and in order.
  void find_cuts(const AxisTile& tile, bool modular) {
    cuts_.clear();
    next_cut_ = 0;
    has_cuts_ = true;
    const int64_t n = request_.far;
    const auto intervals = std::span(request_.intervals).subspan(tile.begin, tile.size);
    const auto add = [&](const Interval& interval, int64_t y) {
      if (interval.length == 0 || (modular && interval.length == n)) return;
      const int64_t cut = modular ? floor_mod(y, n) : y;
      if (cuts_.empty() || cuts_.back() != cut) cuts_.push_back(cut);
    };
    for (const Interval& interval : intervals) add(interval, interval.start);
    for (const Interval& interval : intervals) add(interval, interval.end());
    std::sort(cuts_.begin(), cuts_.end());
  }

  // How many of `count` pieces from `begin` on are alike. Without a cut inside, a piece is seen whole by some near
  // tokens and not at all by the others, and so are those after it up to the next cut.
  int64_t alike(const AxisTile& tile, bool modular, int64_t begin, int64_t size, int64_t count) {
    if (!has_cuts_) find_cuts(tile, modular);
    while (next_cut_ < cuts_.size() && cuts_[next_cut_] <= begin) ++next_cut_;
    return next_cut_ < cuts_.size() ? clamp_to((cuts_[next_cut_] - begin) / size, 1, count) : count;
  }

  void add_equal(AxisTile& tile, const Hull& hull, const EqualPieces& equal, int64_t begin, int64_t lap) {
    constexpr int64_t kFew = 4;  // finding the cuts takes about as long as so many runs
    for (int64_t left = equal.count; left > 0;) {
      const int64_t count = equal.count <= kFew ? 1 : alike(tile, hull.modular, begin, equal.size, left);
      add_run(tile, {begin - lap * request_.far, equal.size, lap}, count, hull.modular);
      begin += equal.size * count;
      left -= count;
    }
  }

  void add_run(AxisTile& tile, const Piece& piece, int64_t count, bool modular) {
    bool any = false, full = true;
    const Interval* intervals = request_.intervals.data() + tile.begin;
    spans_.resize(static_cast<size_t>(tile.size));
    for (Span& span : spans_) {
      span = span_within(piece, *intervals++, request_.far, modular);
      any = any || span.low != span.high;
      full = full && span == Span{0, static_cast<int32_t>(piece.size)};
    }
    if (!any) return;
    table_.runs.push_back({piece, count, full, shared_spans()});
    tile.steps += count;
    tile.visited += count * piece.size;
  }

  // Where spans_ is found in the table.
  int32_t shared_spans() {
    const auto [known, is_new] = offsets_.try_emplace(spans_, narrow(table_.spans.size()));
    if (is_new) table_.spans.insert(table_.spans.end(), spans_.begin(), spans_.end());
    return known->second;
  }

  AxisRequest request_;
  AxisTable table_;
  std::vector<EqualPieces> pieces_;  // of one part of a hull
  std::vector<int64_t> cuts_;        // of one tile, found when first needed
  bool has_cuts_ = false;
  size_t next_cut_ = 0;      // the first one after the pieces added so far
  std::vector<Span> spans_;  // of one run
  std::map<std::vector<Span>, int32_t> offsets_;
};

// `parts` pieces, all nearly size / parts.
void append_equal(int64_t size, int64_t parts, std::vector<EqualPieces>& pieces) {
  if (parts == 0) return;
  const int64_t longer = size % parts;
  if (longer > 0) pieces.push_back({size / parts + 1, longer});
  pieces.push_back({size / parts, parts - longer});
}

}  // namespace

Hull hull_of(std::span<const Interval> intervals, int64_t n, bool clips) {
  const Interval *first = nullptr, *last = nullptr;
  for (const Interval& interval : intervals) {
    if (interval.length == 0) continue;  // must not stretch the hull
    if (first == nullptr) first = &interval;
    last = &interval;
  }
  if (first == nullptr) return {};
  Hull hull{first->start, last->end(), 0, 0, false};
  if (clips && hull.end - hull.begin > n)
    return {0, n, 0, 0, true};  // the whole axis: begins anywhere, so where it needs no cut at the seam
  const bool all_see_some = std::all_of(intervals.begin(), intervals.end(), [](Interval i) { return i.length > 0; });
  if (all_see_some && last->start < first->end()) {
    hull.common_begin = last->start;
    hull.common_end = first->end();
  }
  return hull;
}

Span span_within(const Piece& piece, Interval interval, int64_t n, bool modular) {
  const int64_t size = piece.size, length = interval.length;
  int64_t low = 0, high = 0;
  if (!modular) {
    const int64_t base = piece.first + piece.lap * n;
    low = clamp_to(interval.start - base, 0, size);
    high = clamp_to(interval.end() - base, 0, size);
  } else if (length >= n) {  // first of all: as an arc a whole circle would have a seam at its start
    high = size;
  } else {
    low = floor_mod(interval.start - piece.first, n);
    const int64_t around = low + length - n;  // how much comes round to the piece's begin
    high = around > 0 ? min_of(around, size) : min_of(low + length, size);
    if (low >= size) low = 0, high = max_of(min_of(around, size), 0);
  }
  if (low == high || length == 0) return {};
  return {static_cast<int32_t>(low), static_cast<int32_t>(high)};
}

void split_evenly(int64_t size, int64_t common_begin, int64_t common_end, int64_t far_extent,
                  std::vector<EqualPieces>& result) {
  const int64_t common = common_end - common_begin, head = common_begin, tail = size - common_end;
  const int64_t pieces = ceil_div(size, far_extent);
  // What is before and after the common part takes this many pieces at least, none of them full.
  const int64_t head_pieces = ceil_div(head, far_extent), tail_pieces = ceil_div(tail, far_extent);
  const int64_t full_pieces = pieces - head_pieces - tail_pieces;
  if (common == 0 || full_pieces <= 0) return append_equal(size, pieces, result);

  const int64_t full = min_of(common, full_pieces * far_extent);
  const int64_t rest = common - full;  // common tokens that the outer pieces must take, shared out as evenly as fits
  const int64_t outer_pieces = head_pieces + tail_pieces;
  const int64_t even_head = outer_pieces == 0 ? 0 : ceil_div((size - full) * head_pieces, outer_pieces);
  const int64_t rest_before = clamp_to(even_head - head, max_of(0, rest - (tail_pieces * far_extent - tail)),
                                       min_of(rest, head_pieces * far_extent - head));
  append_equal(head + rest_before, head_pieces, result);
  append_equal(full, full_pieces, result);
  append_equal(tail + rest - rest_before, tail_pieces, result);
}

AxisTable build_axis_table(AxisRequest request) { return Builder(std::move(request)).build(); }

}  // namespace nearfield::core
