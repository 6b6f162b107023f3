// TfIdfVectorizer: counts of n-grams, weighted.
#include <algorithm>
#include <map>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

struct Grams {
  int64_t shortest, longest, skips;
  Dims starts;   // where the n-grams of each length begin in the pool
  Dims columns;  // of the output, per n-gram
  std::vector<float> weights;
  int64_t width;  // of the output
};

Grams grams(const Attrs& attrs) {
  Grams g{attrs.integer("min_gram_length"),
          attrs.integer("max_gram_length"),
          attrs.integer("max_skip_count"),
          attrs.integers("ngram_counts"),
          attrs.integers("ngram_indexes"),
          attrs.reals("weights", {}),
          0};
  if (g.shortest < 1 || g.longest < g.shortest || g.longest > static_cast<int64_t>(g.starts.size())) {
    fail("gram lengths " + str(g.shortest) + " to " + str(g.longest) + " with " +
         std::to_string(g.starts.size()) + " ngram_counts");
  }
  if (g.skips < 0) fail("max_skip_count is " + str(g.skips));
  for (int64_t column : g.columns) {
    if (column < 0) fail("ngram_indexes has " + str(column));
    g.width = std::max(g.width, checked_add(column, 1));
  }
  if (!g.weights.empty() && g.weights.size() != g.columns.size())
    fail("weights and ngram_indexes differ in length");
  return g;
}

void infer_tfidf(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, Fact::unranked(DType::f32));
  if (x.rank() > 2) fail("input has rank " + str(x.rank()) + ", expected 0 to 2");
  const Dim width = grams(c.attrs()).width;
  c.out(0, x.rank() == 2 ? Fact(DType::f32, {x.dims[0], width}) : Fact(DType::f32, {width}));
}

// Each n-gram of the lengths wanted, with its number in the pool.
template <class T>
std::map<std::vector<T>, size_t> number_grams(const std::vector<T>& pool, const Grams& g) {
  std::map<std::vector<T>, size_t> out;
  size_t number = 0;
  for (size_t n = 1; n <= g.starts.size(); ++n) {
    const int64_t begin = g.starts[n - 1],
                  end = n < g.starts.size() ? g.starts[n] : static_cast<int64_t>(pool.size());
    if (begin < 0 || end < begin || end > static_cast<int64_t>(pool.size()) ||
        (end - begin) % static_cast<int64_t>(n) != 0) {
      fail("ngram_counts " + to_string(g.starts) + " does not divide a pool of " +
           std::to_string(pool.size()));
    }
    for (int64_t at = begin; at < end; at += static_cast<int64_t>(n), ++number) {
      if (static_cast<int64_t>(n) < g.shortest || static_cast<int64_t>(n) > g.longest) continue;
      out.emplace(std::vector<T>(pool.begin() + at, pool.begin() + at + static_cast<int64_t>(n)), number);
    }
  }
  if (number != g.columns.size())
    fail("the pool has " + std::to_string(number) + " n-grams, ngram_indexes " +
         std::to_string(g.columns.size()));
  return out;
}

// counts[i] is how often n-gram i occurs in the row, at every distance between its items; a single item has
// none.
template <class T>
void count_grams(const std::vector<T>& row, const std::map<std::vector<T>, size_t>& known, const Grams& g,
                 Dims& counts) {
  const auto size = static_cast<int64_t>(row.size());
  for (int64_t step = 1; step <= std::min(g.skips + 1, size); ++step) {
    for (int64_t start = 0; start < size; ++start) {
      std::vector<T> gram;
      for (int64_t at = start; at < size && static_cast<int64_t>(gram.size()) < g.longest; at += step) {
        gram.push_back(row[static_cast<size_t>(at)]);
        const auto n = static_cast<int64_t>(gram.size());
        if (n < g.shortest || (n == 1 && step > 1)) continue;
        if (const auto found = known.find(gram); found != known.end()) ++counts[found->second];
      }
    }
  }
}

template <class T>
void vectorize(EvalContext& c, const std::vector<T>& items, const std::vector<T>& pool) {
  const Grams g = grams(c.attrs());
  const std::string mode = c.attrs().text("mode");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF")
    fail("mode is '" + mode + "', expected TF, IDF or TFIDF");
  const Tensor& x = c.in(0);
  if (x.rank() > 2) fail("input has shape " + to_string(x.dims()) + ", expected rank 0 to 2");
  const int64_t rows = x.rank() == 2 ? x.dim(0) : 1;
  const auto known = number_grams(pool, g);
  Tensor y = c.make(DType::f32, x.rank() == 2 ? Dims{rows, g.width} : Dims{g.width});
  float* out = y.mutable_data<float>();
  std::fill(out, out + y.size(), 0.0f);
  const int64_t length = rows == 0 ? 0 : x.size() / rows;
  for (int64_t r = 0; r < rows; ++r, out += g.width) {
    if (c.limits.check) c.limits.check();
    Dims counts(g.columns.size(), 0);
    count_grams(std::vector<T>(items.begin() + r * length, items.begin() + (r + 1) * length), known, g,
                counts);
    for (size_t i = 0; i < counts.size(); ++i) {
      const float weight = mode == "TF" || g.weights.empty() ? 1.0f : g.weights[i];
      const float count = mode == "IDF" ? (counts[i] > 0 ? 1.0f : 0.0f) : static_cast<float>(counts[i]);
      out[g.columns[i]] += weight * count;
    }
  }
  c.out(0, std::move(y));
}

void eval_tfidf(EvalContext& c) {
  const Tensor& x = c.in(0);
  const bool strings = c.attrs().has("pool_strings");
  if (strings == c.attrs().has("pool_int64s")) fail("expected either pool_strings or pool_int64s");
  if (strings) {
    require_dtype(x, DType::string, "input");
    const auto items = x.span<std::string>();
    return vectorize(c, std::vector<std::string>(items.begin(), items.end()),
                     c.attrs().texts("pool_strings", {}));
  }
  vectorize(c, to_ints(x), c.attrs().integers("pool_int64s"));
}

constexpr OpDef kOps[] = {
    {.name = "TfIdfVectorizer", .min_inputs = 1, .max_inputs = 1, .infer = infer_tfidf, .eval = eval_tfidf},
};

}  // namespace

std::span<const OpDef> tfidf_ops() {
  return kOps;
}

}  // namespace skyline::ops
