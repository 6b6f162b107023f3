#include "graph/ops/regex.h"
#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;
using ops::Regex;

namespace {
Tensor strings(const std::vector<std::string>& v) {
  return vec<std::string>(v);
}
}  // namespace

TEST_CASE("Regex: what matches as a whole") {
  const auto matches = [](const char* pattern, const char* text) { return Regex(pattern).full_match(text); };
  CHECK(matches(R"(www\.[\w.-]+\.\bcom\b)", "www.google.com"));
  CHECK_FALSE(matches(R"(www\.[\w.-]+\.\bcom\b)", "www.google.comm"));
  CHECK(matches("(a|bc)*d?", "abcbcad"));
  CHECK(matches("", ""));
  CHECK_FALSE(matches("", "x"));
  CHECK(matches("[^a-c]{2,3}", "xyz"));
  CHECK_FALSE(matches("[^a-c]{2,3}", "wxyz"));
  CHECK(matches("x{2,}", "xxxx"));
  CHECK_FALSE(matches("x{2,}", "x"));
  CHECK(matches("(?:ab){3}", "ababab"));
  CHECK(matches("caf.", "caf\xc3\xa9"));
  CHECK(matches("^a$", "a"));
  CHECK_FALSE(matches("a.b", "a\nb"));
  CHECK(matches("[[:digit:]]+\\x41", "12A"));
  CHECK(matches("a{,2}", "a{,2}"));
}

TEST_CASE("Regex: patterns that others choke on take linear time") {
  CHECK_FALSE(Regex("(a*)*b").full_match(std::string(20000, 'a')));
  CHECK_FALSE(Regex("(a|aa)+$b").full_match(std::string(20000, 'a')));
}

TEST_CASE("Regex: bad and unsupported patterns") {
  const auto code = [](const std::string& pattern) {
    try {
      Regex r(pattern);
    } catch (const Error& e) {
      return e.code();
    }
    return Code::ok;
  };
  for (const char* bad : {"(", ")", "[", "[b-a]", "*", "a**", "\\", "a{3,2}", "\\xZZ", "[[:nope:]]"})
    CHECK(code(bad) == Code::invalid);
  for (const char* bad : {"(?=a)", "(?i)a", "\\pL", "(a)\\1"}) CHECK(code(bad) == Code::unsupported);
  CHECK(code("((((a{99}){99}){99}){99})") == Code::limit);
  CHECK(code(std::string(5000, '(')) == Code::limit);
}

TEST_CASE("StringSplit") {
  const auto y = run_op("StringSplit", {strings({" a b  c ", ""})}, {{"maxsplit", int64_t{1}}}, 2);
  CHECK(values<std::string>(y[0]) == std::vector<std::string>{"a", "b  c ", "", ""});
  CHECK(values<int64_t>(y[1]) == Dims{2, 0});
  const auto z = run_op("StringSplit", {strings({"a,,b", ""})}, {{"delimiter", std::string(",")}}, 2);
  CHECK(values<int64_t>(z[1]) == Dims{3, 1});
}

TEST_CASE("StringNormalizer: stop words, case, and nothing left") {
  const Attrs attrs{{"stopwords", std::vector<std::string>{"MONDAY"}},
                    {"case_change_action", std::string("UPPER")}};
  CHECK(values<std::string>(run_op("StringNormalizer", {strings({"monday", "caf\xc3\xa9"})}, attrs)[0]) ==
        std::vector<std::string>{"CAF\xc3\x89"});
  CHECK(values<std::string>(run_op("StringNormalizer", {strings({"Monday"})}, attrs)[0]) ==
        std::vector<std::string>{""});
  CHECK(fails("StringNormalizer", {strings({"x"})}, {{"case_change_action", std::string("TITLE")}}) ==
        Code::invalid);
}

TEST_CASE("TfIdfVectorizer: weights, and pools that do not fit") {
  Attrs attrs{{"mode", std::string("TFIDF")},  {"min_gram_length", int64_t{1}},
              {"max_gram_length", int64_t{2}}, {"max_skip_count", int64_t{1}},
              {"ngram_counts", Dims{0, 1}},    {"ngram_indexes", Dims{1, 0}},
              {"pool_int64s", Dims{5, 5, 6}},  {"weights", std::vector<float>{10, 1}}};
  CHECK(values<float>(run_op("TfIdfVectorizer", {Tensor::vector({5, 5, 6})}, attrs)[0]) ==
        std::vector<float>{2, 20});
  attrs.set("ngram_counts", Dims{0, 2});
  CHECK(fails("TfIdfVectorizer", {Tensor::vector({5})}, attrs) == Code::invalid);
  attrs.set("ngram_counts", Dims{0, 9});
  CHECK(fails("TfIdfVectorizer", {Tensor::vector({5})}, attrs) == Code::invalid);
  attrs.set("ngram_counts", Dims{0, 1}).set("ngram_indexes", Dims{-1, 0});
  CHECK(fails("TfIdfVectorizer", {Tensor::vector({5})}, attrs) == Code::invalid);
}
