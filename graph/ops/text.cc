// Strings: StringConcat, StringSplit, StringNormalizer, RegexFullMatch.
#include <algorithm>
#include <set>

#include "graph/ops/families.h"
#include "graph/ops/move.h"
#include "graph/ops/regex.h"

namespace skyline::ops {
namespace {

// ---- StringConcat
// ------------------------------------------------------------------------------------------------

void eval_string_concat(EvalContext& c) {
  const Tensor &a = c.in(0), &b = c.in(1);
  require_dtype(a, DType::string, "the first input");
  require_dtype(b, DType::string, "the second input");
  const Dims dims = broadcast_dims(a.dims(), b.dims());
  Tensor y = c.make(DType::string, dims);
  auto* out = y.mutable_data<std::string>();
  for (NdIndex<2> it(dims, {broadcast_strides(a.dims(), dims), broadcast_strides(b.dims(), dims)});
       !it.done(); it.next()) {
    *out++ = a.data<std::string>()[it[0]] + b.data<std::string>()[it[1]];
  }
  c.out(0, std::move(y));
}

// ---- StringSplit
// -------------------------------------------------------------------------------------------------

using Strings = std::vector<std::string>;
constexpr const char* kSpaces = " \t\n\v\f\r";

// At runs of white space, of which none is kept at the ends; `most` splits at most (negative: any number).
// What is left then keeps its trailing space.
Strings split_at_space(const std::string& s, int64_t most) {
  Strings out;
  for (size_t at = s.find_first_not_of(kSpaces); at != std::string::npos;) {
    if (most >= 0 && static_cast<int64_t>(out.size()) == most) {
      out.push_back(s.substr(at));
      return out;
    }
    const size_t end = s.find_first_of(kSpaces, at);
    out.push_back(s.substr(at, end == std::string::npos ? end : end - at));
    at = end == std::string::npos ? end : s.find_first_not_of(kSpaces, end);
  }
  return out;
}

Strings split_at(const std::string& s, const std::string& delimiter, int64_t most) {
  if (delimiter.empty()) return split_at_space(s, most);
  Strings out;
  size_t at = 0;
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    const size_t end = s.find(delimiter, at);
    if (end == std::string::npos) break;
    out.push_back(s.substr(at, end - at));
    at = end + delimiter.size();
  }
  out.push_back(s.substr(at));
  return out;
}

void infer_string_split(InferContext& c) {
  const Fact& x = c.in(0);
  Fact parts = Fact::unranked(DType::string);
  if (x.ranked) {
    parts = Fact(DType::string, x.dims);
    parts.dims.push_back(Dim::unknown());
  }
  c.out(0, std::move(parts));
  c.out(1, with_dtype(x, DType::i64));
}

void eval_string_split(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_dtype(x, DType::string, "input");
  const std::string delimiter = c.attrs().text("delimiter", "");
  const int64_t most = c.attrs().integer("maxsplit", -1);
  std::vector<Strings> parts;
  size_t widest = 0;
  for (const std::string& s : x.span<std::string>()) {
    parts.push_back(split_at(s, delimiter, most));
    widest = std::max(widest, parts.back().size());
  }
  Dims dims = x.dims();
  dims.push_back(static_cast<int64_t>(widest));
  Tensor y = c.make(DType::string, dims), counts = c.make(DType::i64, x.dims());
  for (size_t i = 0; i < parts.size(); ++i) {
    counts.mutable_data<int64_t>()[i] = static_cast<int64_t>(parts[i].size());
    std::move(parts[i].begin(), parts[i].end(), y.mutable_data<std::string>() + i * widest);
  }
  c.out(0, std::move(y));
  c.out(1, std::move(counts));
}

// ---- StringNormalizer
// --------------------------------------------------------------------------------------------

// The other case of a character of the ASCII, Latin-1, Greek or Cyrillic alphabet, with no regard to any
// locale.
uint32_t lower(uint32_t ch) {
  if ((ch >= 'A' && ch <= 'Z') || (ch >= 0xc0 && ch <= 0xde && ch != 0xd7)) return ch + 32;
  if ((ch >= 0x391 && ch <= 0x3a9 && ch != 0x3a2) || (ch >= 0x410 && ch <= 0x42f)) return ch + 32;
  return ch >= 0x400 && ch <= 0x40f ? ch + 80 : ch;
}
uint32_t upper(uint32_t ch) {
  if ((ch >= 'a' && ch <= 'z') || (ch >= 0xe0 && ch <= 0xfe && ch != 0xf7)) return ch - 32;
  if ((ch >= 0x3b1 && ch <= 0x3c9 && ch != 0x3c2) || (ch >= 0x430 && ch <= 0x44f)) return ch - 32;
  return ch >= 0x450 && ch <= 0x45f ? ch - 80 : ch;
}

// Maps every character of the two-byte and one-byte ranges; longer sequences and stray bytes stay as they
// are.
std::string change_case(const std::string& s, uint32_t (*map)(uint32_t)) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    const auto a = static_cast<unsigned char>(s[i]);
    const auto b = static_cast<unsigned char>(i + 1 < s.size() ? s[i + 1] : '\0');
    if (a < 0x80) {
      out += static_cast<char>(map(a));
    } else if (a >= 0xc2 && a < 0xe0 && (b & 0xc0) == 0x80) {
      const uint32_t ch = map((a & 0x1fu) << 6 | (b & 0x3fu));
      out += static_cast<char>(0xc0 | ch >> 6);
      out += static_cast<char>(0x80 | (ch & 0x3f));
      ++i;
    } else {
      out += s[i];
    }
  }
  return out;
}

void infer_string_normalizer(InferContext& c) {
  const Fact& x = c.in(0);
  if (!x.ranked) return c.out(0, x);
  Fact out = x;
  if (!out.dims.empty()) out.dims.back() = Dim::unknown();
  c.out(0, std::move(out));
}

void eval_string_normalizer(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_dtype(x, DType::string, "input");
  if (x.rank() != 1 && !(x.rank() == 2 && x.dim(0) == 1))
    fail("input has shape " + to_string(x.dims()) + ", expected [n] or [1,n]");
  const std::string action = c.attrs().text("case_change_action", "NONE");
  if (action != "NONE" && action != "LOWER" && action != "UPPER")
    fail("case_change_action is '" + action + "'");
  const bool sensitive = c.attrs().integer("is_case_sensitive", 0) != 0;
  const auto folded = [&](const std::string& s) { return sensitive ? s : change_case(s, lower); };
  std::set<std::string> stop;
  for (const std::string& s : c.attrs().texts("stopwords", {})) stop.insert(folded(s));
  Strings kept;
  for (const std::string& s : x.span<std::string>()) {
    if (stop.count(folded(s)) > 0) continue;
    kept.push_back(action == "LOWER" ? change_case(s, lower) : action == "UPPER" ? change_case(s, upper) : s);
  }
  if (kept.empty()) kept.emplace_back();  // the specification: one empty string, not no string
  Dims dims = x.dims();
  dims.back() = static_cast<int64_t>(kept.size());
  c.out(0, Tensor::of<std::string>(std::move(dims), kept));
}

// ---- RegexFullMatch
// ----------------------------------------------------------------------------------------------

void infer_regex(InferContext& c) {
  c.out(0, with_dtype(c.in(0), DType::boolean));
}

void eval_regex(EvalContext& c) {
  const Tensor& x = c.in(0);
  require_dtype(x, DType::string, "input");
  const Regex regex(c.attrs().text("pattern"));
  Tensor y = c.make(DType::boolean, x.dims());
  for (int64_t i = 0; i < x.size(); ++i)
    y.mutable_data<bool>()[i] = regex.full_match(x.data<std::string>()[i]);
  c.out(0, std::move(y));
}

constexpr OpDef kOps[] = {
    {.name = "StringConcat",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_broadcast,
     .eval = eval_string_concat,
     .work = no_flops},
    {.name = "StringSplit",
     .min_inputs = 1,
     .max_inputs = 1,
     .max_outputs = 2,
     .infer = infer_string_split,
     .eval = eval_string_split,
     .work = no_flops},
    {.name = "StringNormalizer",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_string_normalizer,
     .eval = eval_string_normalizer,
     .work = no_flops},
    {.name = "RegexFullMatch",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_regex,
     .eval = eval_regex,
     .work = no_flops},
};

}  // namespace

std::span<const OpDef> text_ops() {
  return kOps;
}

}  // namespace skyline::ops
