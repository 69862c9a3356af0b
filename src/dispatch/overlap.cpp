#include "dispatch/overlap.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace nearfield::core {
namespace {

using Wide = __int128;

// Views that span more than this do not exist in any address space; below it all sums and products here fit.
constexpr Wide kMaxExtent = Wide{1} << 60;
// Some ten nanoseconds each. Interleaved slices of one buffer need a handful for each dimension.
constexpr int kMaxNodes = 1 << 15;
constexpr int kMaxTerms = 2 * kMaxDims;

constexpr Wide floor_quotient(Wide a, Wide b) { return a / b - (a % b < 0); }  // b > 0
constexpr Wide ceil_quotient(Wide a, Wide b) { return a / b + (a % b > 0); }
constexpr Wide modulo(Wide a, Wide b) { return a - floor_quotient(a, b) * b; }

// factor * x with 0 <= x <= most.
struct Term {
  Wide factor, most;
};

// Keeps the largest factor first.
void insert(Term* terms, int& count, const Term& term) {
  int i = count++;
  for (; i > 0 && terms[i - 1].factor < term.factor; --i) terms[i] = terms[i - 1];
  terms[i] = term;
}

// Are there x_i in [0, most_i] with low <= sum of factor_i * x_i <= high? All factors are positive.
class BoundedEquation {
 public:
  void add(Wide factor, Wide most) {
    if (most > 0) insert(terms_, count_, {factor, most});
  }

  bool solvable(Wide low, Wide high) {
    merge_equal_factors();
    sum_[count_] = divisor_[count_] = 0;
    for (int i = count_ - 1; i >= 0; --i) {
      sum_[i] = sum_[i + 1] + terms_[i].factor * terms_[i].most;
      divisor_[i] = gcd(terms_[i].factor, divisor_[i + 1]);
    }
    return search(0, low, high);
  }

 private:
  static Wide gcd(Wide a, Wide b) {
    while (b != 0) a = std::exchange(b, a % b);
    return a;
  }

  void merge_equal_factors() {
    int kept = 0;
    for (int i = 0; i < count_; ++i) {
      if (kept > 0 && terms_[kept - 1].factor == terms_[i].factor) {
        terms_[kept - 1].most += terms_[i].most;
      } else {
        terms_[kept++] = terms_[i];
      }
    }
    count_ = kept;
  }

  // The largest factor first: what the smaller ones can still reach leaves it few values.
  bool search(int first, Wide low, Wide high) {
    if (++nodes_ > kMaxNodes) return true;
    low = std::max<Wide>(low, 0);
    high = std::min(high, sum_[first]);
    if (low > high) return false;
    if (low == 0 || high == sum_[first]) return true;  // all x at one end
    if (ceil_quotient(low, divisor_[first]) * divisor_[first] > high) return false;
    const Term& term = terms_[first];
    if (count_ - first == 1) return true;  // the divisor is the factor itself
    if (count_ - first == 2) return search_pair(term, terms_[first + 1], low, high, divisor_[first]);
    const Wide least = std::max<Wide>(0, ceil_quotient(low - sum_[first + 1], term.factor));
    const Wide most = std::min(term.most, floor_quotient(high, term.factor));
    for (Wide x = least; x <= most; ++x) {
      if (search(first + 1, low - term.factor * x, high - term.factor * x)) return true;
    }
    return false;
  }

  // Two terms are solved outright, for each total that is a multiple of their common divisor. At most 15 of them: low
  // and high are two elements apart.
  bool search_pair(const Term& a, const Term& b, Wide low, Wide high, Wide divisor) {
    const Wide step = b.factor / divisor;  // x is determined modulo this
    const Wide inverse = inverse_modulo(a.factor / divisor, step);
    for (Wide total = ceil_quotient(low, divisor) * divisor; total <= high; total += divisor) {
      const Wide x0 = modulo(modulo(total / divisor, step) * inverse, step);
      // The least x = x0 + n*step that leaves b's x within its bound; more of a only leaves b less.
      const Wide least = std::max<Wide>(0, ceil_quotient(total - b.factor * b.most, a.factor));
      const Wide x = x0 + std::max<Wide>(0, ceil_quotient(least - x0, step)) * step;
      if (x <= a.most && a.factor * x <= total) return true;
    }
    return false;
  }

  static Wide inverse_modulo(Wide a, Wide n) {  // coprime
    Wide r0 = n, r1 = modulo(a, n), t0 = 0, t1 = 1;
    while (r1 != 0) {
      const Wide q = r0 / r1;
      r0 = std::exchange(r1, r0 - q * r1);
      t0 = std::exchange(t1, t0 - q * t1);
    }
    return modulo(t0, n);
  }

  Term terms_[kMaxTerms];
  int count_ = 0;
  int nodes_ = 0;
  Wide sum_[kMaxTerms + 1];      // of factor * most, from a term on
  Wide divisor_[kMaxTerms + 1];  // greatest common, from a term on
};

// Bytes that a view's elements begin at: first + sum of factor_i * x_i, where 0 <= x_i <= most_i and factor_i >= 0.
struct Extent {
  Wide first = 0, last = 0;
  Term terms[kMaxDims] = {};
  int count = 0;
  bool empty = false;
  bool absurd = false;  // larger than any memory
};

Extent extent_of(const TensorView& view) {
  const Wide element = size_of(view.dtype);
  Extent e;
  e.first = e.last = static_cast<Wide>(reinterpret_cast<uintptr_t>(view.data));
  for (int d = 0; d < view.rank; ++d) {
    if (view.sizes[d] <= 0) e.empty = true;
    if (view.sizes[d] <= 1) continue;
    const Wide most = view.sizes[d] - 1, stride = view.strides[d];
    const Wide reach = most * stride;
    if (reach > kMaxExtent || reach < -kMaxExtent) {
      e.absurd = true;
      continue;
    }
    (stride < 0 ? e.first : e.last) += reach * element;  // a reversed dimension begins at its other end
    insert(e.terms, e.count, {(stride < 0 ? -stride : stride) * element, most});
  }
  return e;
}

}  // namespace

bool may_overlap(const TensorView& a, const TensorView& b) {
  const Extent ea = extent_of(a), eb = extent_of(b);
  if (ea.empty || eb.empty) return false;
  if (ea.absurd || eb.absurd) return true;
  const Wide size_a = size_of(a.dtype), size_b = size_of(b.dtype);
  if (ea.last + size_a <= eb.first || eb.last + size_b <= ea.first) return false;

  // Elements at p and q meet exactly if -size_a < p - q < size_b. With b's indices counted from the other end,
  // p - q = (ea.first - eb.last) + a positive combination of both views' factors.
  BoundedEquation equation;
  for (int i = 0; i < ea.count; ++i)
    if (ea.terms[i].factor > 0) equation.add(ea.terms[i].factor, ea.terms[i].most);
  for (int i = 0; i < eb.count; ++i)
    if (eb.terms[i].factor > 0) equation.add(eb.terms[i].factor, eb.terms[i].most);
  const Wide offset = eb.last - ea.first;
  return equation.solvable(offset - size_a + 1, offset + size_b - 1);
}

bool overlaps_itself(const TensorView& view) {
  const Extent e = extent_of(view);
  if (e.empty) return false;
  if (e.absurd) return true;
  // Elements lie whole elements apart, so two indices meet exactly if their difference d, with |d_i| <= most_i and not
  // all 0, has sum of factor_i * d_i = 0. Let i be the largest factor's dimension with d_i != 0; say d_i > 0, else swap
  // the two. With d_i = 1 + x and d_j = x_j - most_j this is
  //   factor_i * x + sum of factor_j * x_j = sum of factor_j * most_j - factor_i    over j with smaller factors.
  Wide below = 0;  // sum of factor_j * most_j
  for (int i = e.count - 1; i >= 0; --i) {
    const Term& term = e.terms[i];
    if (term.factor == 0) return true;
    if (term.factor <= below) {
      BoundedEquation equation;
      equation.add(term.factor, term.most - 1);
      for (int j = i + 1; j < e.count; ++j) equation.add(e.terms[j].factor, 2 * e.terms[j].most);
      if (equation.solvable(below - term.factor, below - term.factor)) return true;
    }
    below += term.factor * term.most;
  }
  return false;
}

}  // namespace nearfield::core
