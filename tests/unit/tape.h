// Reverse-mode differentiation of scalar programs in long double: every operation notes its operands and its partial
// derivatives by them; adjoints() walks the notes backwards.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace nearfield::test {

// Beside those for Variable below.
using std::exp;
using std::log;
using std::tanh;

class Tape;

struct Variable {
  long double value = 0;
  Tape* tape = nullptr;  // null: a constant
  int64_t node = -1;
  Variable() = default;
  Variable(long double constant) : value(constant) {}
  Variable(long double v, Tape* t, int64_t n) : value(v), tape(t), node(n) {}
};

class Tape {
 public:
  Variable input(long double value) { return record(value, -1, 0, -1, 0); }
  Variable record(long double value, int64_t a, long double by_a, int64_t b, long double by_b) {
    nodes_.push_back({a, b, by_a, by_b});
    return {value, this, static_cast<int64_t>(nodes_.size()) - 1};
  }
  // d result / d node, for all nodes.
  std::vector<long double> adjoints(const Variable& result) const {
    std::vector<long double> adjoint(nodes_.size(), 0.0L);
    if (result.node < 0) return adjoint;
    adjoint[static_cast<size_t>(result.node)] = 1;
    for (size_t n = nodes_.size(); n-- > 0;) {
      const Node& node = nodes_[n];
      if (adjoint[n] == 0) continue;
      if (node.a >= 0) adjoint[static_cast<size_t>(node.a)] += adjoint[n] * node.by_a;
      if (node.b >= 0) adjoint[static_cast<size_t>(node.b)] += adjoint[n] * node.by_b;
    }
    return adjoint;
  }

 private:
  struct Node {
    int64_t a, b;
    long double by_a, by_b;
  };
  std::vector<Node> nodes_;
};

inline Variable binary(const Variable& a, const Variable& b, long double value, long double by_a, long double by_b) {
  Tape* tape = a.tape ? a.tape : b.tape;
  return tape ? tape->record(value, a.node, by_a, b.node, by_b) : Variable(value);
}
inline Variable operator+(const Variable& a, const Variable& b) { return binary(a, b, a.value + b.value, 1, 1); }
inline Variable operator*(const Variable& a, const Variable& b) {
  return binary(a, b, a.value * b.value, b.value, a.value);
}
inline Variable operator/(const Variable& a, const Variable& b) {
  const long double quotient = a.value / b.value;
  return binary(a, b, quotient, 1 / b.value, -quotient / b.value);
}
inline Variable exp(const Variable& a) {
  const long double power = std::exp(a.value);
  return binary(a, {}, power, power, 0);
}
inline Variable log(const Variable& a) { return binary(a, {}, std::log(a.value), 1 / a.value, 0); }
inline Variable tanh(const Variable& a) {
  const long double t = std::tanh(a.value), cosh = std::cosh(a.value);
  return binary(a, {}, t, 1 / (cosh * cosh), 0);
}

inline long double value_of(const Variable& a) { return a.value; }
inline long double value_of(long double a) { return a; }

}  // namespace nearfield::test
