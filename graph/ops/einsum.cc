// Einsum and Det.
#include <algorithm>
#include <cmath>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

// ---- the equation
// ------------------------------------------------------------------------------------------------

// An equation over operands of known rank: each axis of each operand, and of the output, as the number of a
// label. The axes of an ellipsis are labels too, numbered from the back so that operands broadcast.
struct Equation {
  std::vector<std::vector<int>> operands;
  std::vector<int> output;
  int labels = 0;
};

constexpr int kEllipsis = -1;
constexpr int kLetters = 128;

// "ab...c" -> letters and kEllipsis.
std::vector<int> parse_term(const std::string& term) {
  std::vector<int> out;
  for (size_t i = 0; i < term.size(); ++i) {
    const char ch = term[i];
    if (term.compare(i, 3, "...") == 0) {
      if (std::count(out.begin(), out.end(), kEllipsis) > 0) fail("term '" + term + "' has two ellipses");
      out.push_back(kEllipsis);
      i += 2;
    } else if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')) {
      out.push_back(ch);
    } else {
      fail("term '" + term + "' has a character that is no letter");
    }
  }
  return out;
}

struct Terms {
  std::vector<std::vector<int>> inputs;
  std::optional<std::vector<int>> output;
};

Terms parse_terms(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  Terms out;
  if (const size_t arrow = text.find("->"); arrow != std::string::npos) {
    out.output = parse_term(text.substr(arrow + 2));
    text.resize(arrow);
  }
  for (size_t begin = 0;;) {
    const size_t comma = text.find(',', begin);
    out.inputs.push_back(parse_term(text.substr(begin, comma == std::string::npos ? comma : comma - begin)));
    if (comma == std::string::npos) return out;
    begin = comma + 1;
  }
}

// The output of an equation without "->": the ellipsis, then the letters that occur once, in alphabetical
// order.
std::vector<int> implicit_output(const Terms& terms) {
  std::vector<int> seen(kLetters), out = {kEllipsis};
  for (const auto& term : terms.inputs) {
    for (int label : term) {
      if (label != kEllipsis) ++seen[static_cast<size_t>(label)];
    }
  }
  for (int label = 0; label < kLetters; ++label) {
    if (seen[static_cast<size_t>(label)] == 1) out.push_back(label);
  }
  return out;
}

Equation parse_equation(const std::string& text, const std::vector<int>& ranks) {
  const Terms terms = parse_terms(text);
  if (terms.inputs.size() != ranks.size())
    fail("equation '" + text + "' has " + std::to_string(terms.inputs.size()) + " terms for " +
         std::to_string(ranks.size()) + " inputs");
  int widest = 0;  // axes of the widest ellipsis
  for (size_t i = 0; i < ranks.size(); ++i) {
    const auto& term = terms.inputs[i];
    const bool open = std::count(term.begin(), term.end(), kEllipsis) > 0;
    const int rest = ranks[i] - static_cast<int>(term.size()) + (open ? 1 : 0);
    if (rest < 0 || (rest > 0 && !open))
      fail("equation '" + text + "' does not fit input " + std::to_string(i) + " of rank " + str(ranks[i]));
    widest = std::max(widest, rest);
  }
  Equation eq;
  eq.labels = widest;
  std::vector<int> number(kLetters, -1);
  // rank: how many axes the ellipsis of this term stands for
  const auto expand = [&](const std::vector<int>& term, int rest, bool output) {
    std::vector<int> axes;
    for (int label : term) {
      if (label == kEllipsis) {
        for (int k = widest - rest; k < widest; ++k) axes.push_back(k);
        continue;
      }
      int& n = number[static_cast<size_t>(label)];
      if (n < 0) {
        if (output) fail("equation '" + text + "' has an output label that no input has");
        n = eq.labels++;
      }
      if (output && std::find(axes.begin(), axes.end(), n) != axes.end())
        fail("equation '" + text + "' repeats an output label");
      axes.push_back(n);
    }
    return axes;
  };
  for (size_t i = 0; i < ranks.size(); ++i) {
    const auto& term = terms.inputs[i];
    const bool open = std::count(term.begin(), term.end(), kEllipsis) > 0;
    eq.operands.push_back(expand(term, open ? ranks[i] - static_cast<int>(term.size()) + 1 : 0, false));
  }
  eq.output = expand(terms.output ? *terms.output : implicit_output(terms), widest, true);
  return eq;
}

// ---- Einsum
// ------------------------------------------------------------------------------------------------------

// Sizes of the labels. A length of 1 broadcasts.
SymDims label_dims(const Equation& eq, const std::vector<SymDims>& dims) {
  SymDims size(static_cast<size_t>(eq.labels), Dim(1));
  for (size_t i = 0; i < dims.size(); ++i) {
    for (size_t a = 0; a < dims[i].size(); ++a) {
      Dim& d = size[static_cast<size_t>(eq.operands[i][a])];
      d = broadcast_dims(SymDims{d}, SymDims{dims[i][a]})[0];
    }
  }
  return size;
}

void infer_einsum(InferContext& c) {
  std::vector<int> ranks;
  std::vector<SymDims> dims;
  for (size_t i = 0; i < c.inputs(); ++i) {
    if (!c.in(i).ranked) return c.out(0, Fact::unranked(c.in(0).dtype));
    ranks.push_back(c.in(i).rank());
    dims.push_back(c.in(i).dims);
  }
  const Equation eq = parse_equation(c.attrs().text("equation"), ranks);
  const SymDims size = label_dims(eq, dims);
  SymDims out;
  for (int label : eq.output) out.push_back(size[static_cast<size_t>(label)]);
  c.out(0, Fact(c.in(0).dtype, std::move(out)));
}

void eval_einsum(EvalContext& c) {
  std::vector<int> ranks;
  std::vector<SymDims> dims;
  for (size_t i = 0; i < c.inputs(); ++i) {
    require_dtype(c.in(i), c.in(0).dtype(), "an input");
    ranks.push_back(c.in(i).rank());
    dims.emplace_back(c.in(i).dims().begin(), c.in(i).dims().end());
  }
  const Equation eq = parse_equation(c.attrs().text("equation"), ranks);
  const SymDims size = label_dims(eq, dims);
  // The loops: the output's labels outside, the summed ones inside.
  std::vector<int> loops = eq.output;
  for (int l = 0; l < eq.labels; ++l) {
    if (std::find(eq.output.begin(), eq.output.end(), l) == eq.output.end()) loops.push_back(l);
  }
  Dims lengths, out_dims;
  for (int l : loops) lengths.push_back(size[static_cast<size_t>(l)].value());
  out_dims.assign(lengths.begin(), lengths.begin() + static_cast<ptrdiff_t>(eq.output.size()));
  // strides[i][k]: how far operand i moves when loop k does.
  std::vector<Dims> strides(c.inputs(), Dims(loops.size(), 0));
  for (size_t i = 0; i < c.inputs(); ++i) {
    const Dims own = row_major_strides(c.in(i).dims());
    for (size_t a = 0; a < own.size(); ++a) {
      const auto k =
          static_cast<size_t>(std::find(loops.begin(), loops.end(), eq.operands[i][a]) - loops.begin());
      if (c.in(i).dims()[a] != 1) strides[i][k] += own[a];
    }
  }
  Tensor y = c.make(c.in(0).dtype(), out_dims);
  const int64_t outer = y.size();
  int64_t inner = 1;
  for (size_t k = eq.output.size(); k < lengths.size(); ++k) inner = checked_mul(inner, lengths[k]);
  visit_type(y.dtype(), NumericTypes{}, [&]<class T>() {
    using A = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;  // integers wrap around
    std::vector<const T*> at;
    for (size_t i = 0; i < c.inputs(); ++i) at.push_back(c.in(i).data<T>());
    Dims index(lengths.size(), 0);
    const auto advance = [&] {
      for (size_t k = lengths.size(); k-- > 0;) {
        ++index[k];
        const int64_t back = index[k] == lengths[k] ? lengths[k] - 1 : -1;
        for (size_t i = 0; i < at.size(); ++i) at[i] += back < 0 ? strides[i][k] : -back * strides[i][k];
        if (back < 0) return;
        index[k] = 0;
      }
    };
    T* out = y.mutable_data<T>();
    for (int64_t o = 0; o < outer; ++o) {
      if (c.limits.check && (o & 1023) == 0) c.limits.check();
      A sum = 0;
      for (int64_t s = 0; s < inner; ++s, advance()) {
        A term = 1;
        for (const T* p : at) term *= static_cast<A>(widen(*p));
        sum += term;
      }
      out[o] = narrow<T>(sum);
    }
  });
  c.out(0, std::move(y));
}

Work einsum_work(const Node& n, std::span<const Fact> in, std::span<const Fact>) {
  std::vector<int> ranks;
  std::vector<SymDims> dims;
  for (const Fact& f : in) {
    ranks.push_back(f.rank());
    dims.push_back(f.dims);
  }
  const Dim points = product(label_dims(parse_equation(n.attrs.text("equation"), ranks), dims));
  return {.flops = points.value() * static_cast<int64_t>(in.size())};
}

// ---- Det
// ---------------------------------------------------------------------------------------------------------

void infer_det(InferContext& c) {
  Fact f = c.in(0);
  if (f.ranked) {
    if (f.rank() < 2) fail("input has rank " + str(f.rank()) + ", expected 2 or more");
    f.dims.resize(f.dims.size() - 2);
  }
  c.out(0, std::move(f));
}

// By elimination with partial pivoting; destroys m.
double determinant(std::vector<double>& m, size_t n) {
  double det = 1;
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t r = k + 1; r < n; ++r) {
      if (std::abs(m[r * n + k]) > std::abs(m[pivot * n + k])) pivot = r;
    }
    if (m[pivot * n + k] == 0) return 0;
    if (pivot != k) {
      std::swap_ranges(m.begin() + static_cast<ptrdiff_t>(k * n),
                       m.begin() + static_cast<ptrdiff_t>((k + 1) * n),
                       m.begin() + static_cast<ptrdiff_t>(pivot * n));
      det = -det;
    }
    det *= m[k * n + k];
    for (size_t r = k + 1; r < n; ++r) {
      const double f = m[r * n + k] / m[k * n + k];
      for (size_t j = k; j < n; ++j) m[r * n + j] -= f * m[k * n + j];
    }
  }
  return det;
}

void eval_det(EvalContext& c) {
  const Tensor& x = c.in(0);
  if (x.rank() < 2 || x.dim(x.rank() - 1) != x.dim(x.rank() - 2))
    fail("input " + to_string(x.dims()) + " is not made of square matrices");
  const auto n = static_cast<size_t>(x.dim(x.rank() - 1));
  Tensor y = c.make(x.dtype(), Dims(x.dims().begin(), x.dims().end() - 2));
  const std::vector<double> all = to_doubles(x);
  visit_type(x.dtype(), FloatTypes{}, [&]<class T>() {
    for (size_t i = 0; i < static_cast<size_t>(y.size()); ++i) {
      if (c.limits.check) c.limits.check();
      std::vector<double> m(all.begin() + static_cast<ptrdiff_t>(i * n * n),
                            all.begin() + static_cast<ptrdiff_t>((i + 1) * n * n));
      y.mutable_data<T>()[i] = narrow<T>(determinant(m, n));
    }
  });
  c.out(0, std::move(y));
}

Work det_work(const Node&, std::span<const Fact> in, std::span<const Fact> out) {
  const int64_t n = in[0].dims.back().value();
  return {.flops = 2 * n * n * n / 3 * out[0].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "Einsum",
     .min_inputs = 1,
     .max_inputs = kMany,
     .infer = infer_einsum,
     .eval = eval_einsum,
     .work = einsum_work},
    {.name = "Det", .min_inputs = 1, .max_inputs = 1, .infer = infer_det, .eval = eval_det, .work = det_work},
};

}  // namespace

std::span<const OpDef> einsum_ops() {
  return kOps;
}

}  // namespace skyline::ops
