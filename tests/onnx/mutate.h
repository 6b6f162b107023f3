#pragma once
// Models with something broken in them, the same ones in every run.
#include <cstdint>
#include <string>

namespace test {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t below(uint64_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }
  // One to four changes: a flipped bit, another byte, a cut, a length or count that is off, a part doubled,
  // moved or gone.
  std::string operator()(std::string bytes) {
    const uint64_t kinds = below(4) ? 4 : 8;  // most keep the size, and so get past the wire format
    for (uint64_t n = 1 + below(4); n > 0 && !bytes.empty(); --n) change(bytes, below(kinds));
    return bytes;
  }

 private:
  void change(std::string& s, uint64_t kind) {
    // Structure comes early and late in a file, weights between: half of the changes are near the ends.
    const uint64_t near = s.size() < 1024 ? s.size() : 512;
    const uint64_t draw = below(3);
    const uint64_t at = draw == 0 ? below(near) : draw == 1 ? s.size() - 1 - below(near) : below(s.size());
    const uint64_t length = 1 + below(s.size() - at < 64 ? s.size() - at : 64);
    static constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    switch (kind) {
      case 0:
      case 1:
        s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
        break;
      case 2:
        s[at] = static_cast<char>(kEdges[below(sizeof kEdges)]);
        break;
      case 3:
        s[at] = static_cast<char>(s[at] + (below(2) ? 1 : -1));  // a length or count, as likely as not
        break;
      case 4:
        s.resize(at);
        break;
      case 5:
        s.insert(at, s.substr(at, length));
        break;
      case 6:
        s.erase(at, length);
        break;
      default:  // a number of ten bytes in place of one byte
        s.replace(at, 1, std::string(9, '\xff') + '\x01');
    }
  }
  uint64_t state_;
};

}  // namespace test
