#pragma once
// Regular expressions in the syntax of RE2, for matching whole strings: time linear in the text, whatever the
// pattern.
#include <cstdint>
#include <string>
#include <vector>

namespace skyline::ops {

class Regex {
 public:
  // Error{invalid} for a malformed pattern, {unsupported} for syntax beyond literals, classes, groups,
  // alternation, repetition, anchors and \b, {limit} when repetitions expand to too many states.
  explicit Regex(const std::string& pattern);
  // Text is UTF-8; bytes that are not are single characters.
  bool full_match(const std::string& text) const;

 private:
  friend class RegexCompiler;
  enum class Kind : uint8_t { set, split, begin, end, word, not_word, accept };
  struct Range {
    uint32_t low, high;
  };
  struct State {
    Kind kind = Kind::accept;
    std::vector<Range> ranges;  // of a set: the characters that it takes
    int next = -1, other = -1;  // other: of a split
  };
  void follow(int state, uint32_t before, uint32_t after, std::vector<int>& list,
              std::vector<bool>& seen) const;

  std::vector<State> states_;
  int start_ = 0;
};

// The characters of a UTF-8 text; a byte that begins no well-formed sequence stands for itself.
std::vector<uint32_t> decode_utf8(const std::string& text);

}  // namespace skyline::ops
