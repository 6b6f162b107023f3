// A pattern becomes an automaton with one state per character set; matching keeps the set of states that the
// text so far can be in. No backtracking, so no pattern is slow.
#include "graph/ops/regex.h"

#include <algorithm>

#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

constexpr uint32_t kNone = 0xffffffffu;  // before the first and after the last character
constexpr uint32_t kLast = 0x10ffff;
constexpr size_t kMostStates = 20000;
constexpr int kMostRepeats = 1000, kMostDepth = 200;

bool is_word(uint32_t ch) {
  return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_';
}

}  // namespace

std::vector<uint32_t> decode_utf8(const std::string& text) {
  std::vector<uint32_t> out;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xc2 && lead < 0xe0 ? 2
                          : lead >= 0xe0 && lead < 0xf0 ? 3
                          : lead >= 0xf0 && lead < 0xf5 ? 4
                                                        : 1;
    uint32_t ch = length == 1 ? lead : lead & (0x7fu >> length);
    bool well = i + length <= text.size();
    for (size_t k = 1; k < length && well; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      well = (byte & 0xc0) == 0x80;
      ch = ch << 6 | (byte & 0x3f);
    }
    out.push_back(well ? ch : lead);
    i += well ? length : 1;
  }
  return out;
}

// Recursive descent over the pattern. A fragment is a start state and the places that still need a next
// state.
class RegexCompiler {
 public:
  RegexCompiler(Regex& regex, const std::string& pattern) : regex_(regex), text_(decode_utf8(pattern)) {}

  void compile() {
    const Fragment all = alternatives(0);
    if (at_ != text_.size()) fail("pattern has an unmatched )");
    patch(all, add({.kind = Regex::Kind::accept}));
    regex_.start_ = all.start;
  }

 private:
  using Ranges = std::vector<Regex::Range>;
  struct Hole {
    int state;
    bool other;
  };
  struct Fragment {
    int start = -1;
    std::vector<Hole> holes;
  };

  bool more() const { return at_ < text_.size(); }
  uint32_t peek() const { return more() ? text_[at_] : kNone; }
  bool take(uint32_t ch) {
    if (peek() != ch) return false;
    ++at_;
    return true;
  }

  int add(Regex::State state) {
    if (regex_.states_.size() >= kMostStates)
      throw Error(Code::limit, "pattern needs more than " + std::to_string(kMostStates) + " states");
    regex_.states_.push_back(std::move(state));
    return static_cast<int>(regex_.states_.size()) - 1;
  }
  Fragment single(Regex::State state) {
    const int s = add(std::move(state));
    return {s, {{s, false}}};
  }
  Fragment empty() {  // a split with one way
    return single({.kind = Regex::Kind::split});
  }
  void patch(const Fragment& f, int target) {
    for (const Hole& h : f.holes) {
      Regex::State& s = regex_.states_[static_cast<size_t>(h.state)];
      (h.other ? s.other : s.next) = target;
    }
  }

  Fragment alternatives(int depth) {
    if (depth > kMostDepth)
      throw Error(Code::limit, "pattern nests deeper than " + std::to_string(kMostDepth));
    Fragment left = sequence(depth);
    while (take('|')) {
      const Fragment right = sequence(depth);
      const int s = add({.kind = Regex::Kind::split, .next = left.start, .other = right.start});
      left.start = s;
      left.holes.insert(left.holes.end(), right.holes.begin(), right.holes.end());
    }
    return left;
  }

  Fragment sequence(int depth) {
    Fragment all = empty();
    while (more() && peek() != '|' && peek() != ')') {
      Fragment next = repeated(depth);
      patch(all, next.start);
      all.holes = std::move(next.holes);
    }
    return all;
  }

  // What repeats is parsed again for every copy, which keeps fragments free of any need to be copied.
  Fragment repeated(int depth) {
    const size_t begin = at_;
    Fragment first = atom(depth);
    int low = 1, high = 1;
    if (!quantifier(low, high)) return first;
    const size_t end = at_;
    if (const uint32_t ch = peek(); ch == '*' || ch == '+') fail("pattern repeats a repetition");
    Fragment all = empty();
    const auto copy = [&] {
      at_ = begin;
      return atom(depth);
    };
    for (int i = 0; i < low; ++i) {
      Fragment f = i == 0 ? std::move(first) : copy();
      patch(all, f.start);
      all.holes = std::move(f.holes);
    }
    if (high < 0) {  // any number more
      Fragment f = copy();
      const int loop = add({.kind = Regex::Kind::split, .next = f.start});
      patch(f, loop);
      patch(all, loop);
      all.holes = {{loop, true}};
    }
    std::vector<Hole> exits;
    for (int i = low; i < high; ++i) {
      Fragment f = copy();
      const int choice = add({.kind = Regex::Kind::split, .next = f.start});
      patch(all, choice);
      exits.push_back({choice, true});
      all.holes = std::move(f.holes);
    }
    all.holes.insert(all.holes.end(), exits.begin(), exits.end());
    at_ = end;
    return all;
  }

  // Reads *, +, ?, {n}, {n,} or {n,m}, and a trailing ? (lazy: the same for a whole match). high -1: no
  // bound.
  bool quantifier(int& low, int& high) {
    const size_t begin = at_;
    if (take('*'))
      low = 0, high = -1;
    else if (take('+'))
      low = 1, high = -1;
    else if (take('?'))
      low = 0, high = 1;
    else if (take('{')) {
      low = number();
      high = take(',') ? (peek() == '}' ? -1 : number()) : low;
      if (low < 0 || !take('}') ||
          (high < 0 && text_[at_ - 2] != ',')) {  // RE2 then reads the brace as itself
        at_ = begin;
        return false;
      }
      if (low > kMostRepeats || high > kMostRepeats || (high >= 0 && high < low))
        fail("pattern has a bad repetition");
    } else {
      return false;
    }
    take('?');
    return true;
  }

  int number() {
    if (peek() < '0' || peek() > '9') return -1;
    int n = 0;
    while (peek() >= '0' && peek() <= '9')
      n = std::min(n * 10 + static_cast<int>(text_[at_++] - '0'), kMostRepeats + 1);
    return n;
  }

  Fragment atom(int depth) {
    const uint32_t ch = text_[at_++];
    switch (ch) {
      case '(':
        return group(depth);
      case '[':
        return set(bracket());
      case '.':
        return set({{0, '\n' - 1}, {'\n' + 1, kLast}});
      case '^':
        return single({.kind = Regex::Kind::begin});
      case '$':
        return single({.kind = Regex::Kind::end});
      case '*':
      case '+':
      case '?':
        fail("pattern repeats nothing");
      case '\\':
        break;
      default:
        return set({{ch, ch}});
    }
    if (take('b')) return single({.kind = Regex::Kind::word});
    if (take('B')) return single({.kind = Regex::Kind::not_word});
    if (take('A')) return single({.kind = Regex::Kind::begin});
    if (take('z')) return single({.kind = Regex::Kind::end});
    return set(escape());
  }

  Fragment group(int depth) {
    if (take('?')) {
      if (take('P') || peek() == '<') {  // a name, which nothing here refers to
        if (!take('<')) throw Error(Code::unsupported, "pattern has a (?P group that is no name");
        while (more() && peek() != '>') {
          if (!is_word(text_[at_++]))
            throw Error(Code::unsupported, "pattern looks behind, or has a bad group name");
        }
        if (!take('>')) fail("pattern has an unfinished group name");
      } else if (!take(':')) {
        throw Error(Code::unsupported, "pattern has flags or a look-ahead");
      }
    }
    Fragment inner = alternatives(depth + 1);
    if (!take(')')) fail("pattern has an unmatched (");
    return inner;
  }

  Fragment set(Ranges ranges) { return single({.kind = Regex::Kind::set, .ranges = std::move(ranges)}); }

  static Ranges negated(Ranges r) {
    std::sort(r.begin(), r.end(), [](auto a, auto b) { return a.low < b.low; });
    Ranges out;
    uint32_t next = 0;
    for (const auto& range : r) {
      if (range.low > next) out.push_back({next, range.low - 1});
      next = std::max(next, range.high + 1);
    }
    if (next <= kLast) out.push_back({next, kLast});
    return out;
  }

  static Ranges digits() { return {{'0', '9'}}; }
  static Ranges words() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
  static Ranges spaces() { return {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}; }

  // What follows a backslash.
  Ranges escape() {
    if (!more()) fail("pattern ends in a backslash");
    const uint32_t ch = text_[at_++];
    switch (ch) {
      case 'd':
        return digits();
      case 'D':
        return negated(digits());
      case 'w':
        return words();
      case 'W':
        return negated(words());
      case 's':
        return spaces();
      case 'S':
        return negated(spaces());
      case 'n':
        return {{'\n', '\n'}};
      case 't':
        return {{'\t', '\t'}};
      case 'r':
        return {{'\r', '\r'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case 'a':
        return {{'\a', '\a'}};
      case 'x':
        return hexadecimal();
      default:
        break;
    }
    if (ch < 0x80 && is_word(ch))
      throw Error(Code::unsupported, std::string("pattern has the escape \\") + static_cast<char>(ch));
    return {{ch, ch}};
  }

  Ranges hexadecimal() {
    const bool braced = take('{');
    uint32_t value = 0;
    int count = 0;
    for (; more() && (braced || count < 2) && peek() != '}'; ++count) {
      const uint32_t ch = text_[at_++];
      const uint32_t digit = ch >= '0' && ch <= '9'   ? ch - '0'
                             : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                             : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                                      : 16;
      if (digit > 15 || value > kLast) fail("pattern has a bad \\x escape");
      value = value * 16 + digit;
    }
    if (count == 0 || (!braced && count != 2) || value > kLast || (braced && !take('}')))
      fail("pattern has a bad \\x escape");
    return {{value, value}};
  }

  Ranges bracket() {
    const bool negative = take('^');
    Ranges out;
    for (bool first = true; first || peek() != ']'; first = false) {
      if (!more()) fail("pattern has an unmatched [");
      if (peek() == '[' && at_ + 1 < text_.size() && text_[at_ + 1] == ':') {
        const Ranges named = named_class();
        out.insert(out.end(), named.begin(), named.end());
        continue;
      }
      Ranges low = member();
      const bool range = low.size() == 1 && low[0].low == low[0].high && peek() == '-' &&
                         at_ + 1 < text_.size() && text_[at_ + 1] != ']';
      if (range) {
        ++at_;
        const Ranges high = member();
        if (high.size() != 1 || high[0].low != high[0].high || high[0].low < low[0].low)
          fail("pattern has a bad range");
        low[0].high = high[0].high;
      }
      out.insert(out.end(), low.begin(), low.end());
    }
    ++at_;
    return negative ? negated(std::move(out)) : out;
  }

  Ranges member() {
    if (!more()) fail("pattern has an unmatched [");
    const uint32_t ch = text_[at_++];
    return ch == '\\' ? escape() : Ranges{{ch, ch}};
  }

  Ranges named_class() {
    at_ += 2;
    const bool negative = take('^');
    std::string name;
    while (more() && peek() != ':') name += static_cast<char>(text_[at_++] & 0x7f);
    if (!take(':') || !take(']')) fail("pattern has an unfinished [: :]");
    Ranges r;
    if (name == "alpha")
      r = {{'A', 'Z'}, {'a', 'z'}};
    else if (name == "digit")
      r = digits();
    else if (name == "alnum")
      r = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
    else if (name == "upper")
      r = {{'A', 'Z'}};
    else if (name == "lower")
      r = {{'a', 'z'}};
    else if (name == "space")
      r = {{'\t', '\r'}, {' ', ' '}};
    else if (name == "punct")
      r = {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
    else if (name == "xdigit")
      r = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
    else if (name == "word")
      r = words();
    else
      fail("pattern has the class [:" + name + ":]");
    return negative ? negated(std::move(r)) : r;
  }

  Regex& regex_;
  std::vector<uint32_t> text_;
  size_t at_ = 0;
};

Regex::Regex(const std::string& pattern) {
  RegexCompiler(*this, pattern).compile();
}

// Adds to `list` every state that takes a character, or accepts, reachable from here without taking one.
void Regex::follow(int state, uint32_t before, uint32_t after, std::vector<int>& list,
                   std::vector<bool>& seen) const {
  std::vector<int> open = {state};
  while (!open.empty()) {
    const int id = open.back();
    open.pop_back();
    if (id < 0 || seen[static_cast<size_t>(id)]) continue;
    seen[static_cast<size_t>(id)] = true;
    const State& s = states_[static_cast<size_t>(id)];
    const bool border = (before != kNone && is_word(before)) != (after != kNone && is_word(after));
    switch (s.kind) {
      case Kind::set:
      case Kind::accept:
        list.push_back(id);
        break;
      case Kind::split:
        open.insert(open.end(), {s.next, s.other});
        break;
      case Kind::begin:
        if (before == kNone) open.push_back(s.next);
        break;
      case Kind::end:
        if (after == kNone) open.push_back(s.next);
        break;
      case Kind::word:
        if (border) open.push_back(s.next);
        break;
      case Kind::not_word:
        if (!border) open.push_back(s.next);
        break;
    }
  }
}

bool Regex::full_match(const std::string& text) const {
  const std::vector<uint32_t> chars = decode_utf8(text);
  const auto at = [&](size_t i) { return i < chars.size() ? chars[i] : kNone; };
  std::vector<int> now, then;
  std::vector<bool> seen(states_.size());
  follow(start_, kNone, at(0), now, seen);
  for (size_t i = 0; i < chars.size() && !now.empty(); ++i) {
    then.clear();
    seen.assign(states_.size(), false);
    for (int id : now) {
      const State& s = states_[static_cast<size_t>(id)];
      const bool takes = s.kind == Kind::set &&
                         std::any_of(s.ranges.begin(), s.ranges.end(),
                                     [&](const Range& r) { return chars[i] >= r.low && chars[i] <= r.high; });
      if (takes) follow(s.next, chars[i], at(i + 1), then, seen);
    }
    now.swap(then);
  }
  return std::any_of(now.begin(), now.end(),
                     [&](int id) { return states_[static_cast<size_t>(id)].kind == Kind::accept; });
}

}  // namespace skyline::ops
