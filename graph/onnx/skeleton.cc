#include "graph/onnx/skeleton.h"

#include <algorithm>
#include <vector>

namespace skyline::onnx {
namespace {

constexpr int64_t kSmallest = 4096;  // payloads below stay where they are
constexpr uint32_t kLengthDelimited = 2;

enum class Level : uint8_t { model, graph, tensor };
constexpr uint32_t kGraphField = 7, kInitializerField = 5, kRawDataField = 9;

// Reads forward through a small window: between payloads, fields are short.
class Window {
 public:
  explicit Window(const RegularFile& file) : file_(file), buffer_(kSize) {}

  // False at the end of the file.
  bool byte(int64_t at, uint8_t* value) {
    if (at < 0 || at >= file_.size) return false;
    if (at < begin_ || at >= begin_ + filled_) {
      begin_ = at;
      filled_ = std::min<int64_t>(kSize, file_.size - at);
      read_exactly(file_, buffer_.data(), filled_, at);
    }
    *value = static_cast<uint8_t>(buffer_[static_cast<size_t>(at - begin_)]);
    return true;
  }
  void append(int64_t begin, int64_t end, std::string* to) {
    const size_t before = to->size();
    if (begin >= begin_ && end <= begin_ + filled_) {
      to->append(buffer_.data() + (begin - begin_), static_cast<size_t>(end - begin));
      return;
    }
    to->resize(before + static_cast<size_t>(end - begin));
    read_exactly(file_, to->data() + before, end - begin, begin);
  }

 private:
  static constexpr int64_t kSize = 16 << 10;
  const RegularFile& file_;
  std::vector<char> buffer_;
  int64_t begin_ = 0, filled_ = 0;
};

void put_varint(uint64_t v, std::string* to) {
  for (; v >= 0x80; v >>= 7) to->push_back(static_cast<char>(v | 0x80));
  to->push_back(static_cast<char>(v));
}

class Builder {
 public:
  explicit Builder(const RegularFile& file) : window_(file) {}

  // The message in [at, end) with payloads left out; false if it is malformed.
  bool message(Level level, int64_t at, int64_t end, std::string* to) {
    bool has_payload = false;
    while (at < end) {
      const int64_t field = at;
      uint64_t tag = 0, length = 0;
      if (!varint(&at, end, &tag) || tag > UINT32_MAX) return false;
      if ((tag & 7) != kLengthDelimited) {
        if (!skip_number(&at, end, static_cast<uint32_t>(tag & 7))) return false;
        window_.append(field, at, to);
        continue;
      }
      if (!varint(&at, end, &length) || length > static_cast<uint64_t>(end - at)) return false;
      const int64_t begin = at;
      at += static_cast<int64_t>(length);
      const auto number = static_cast<uint32_t>(tag >> 3);
      if (level == Level::tensor && number == kRawDataField && at - begin >= kSmallest) {
        if (has_payload) return false;  // of two the last counts: rare enough to read the file whole
        has_payload = true;
        payloads[initializer_] = {begin, at - begin};
        put_field(static_cast<uint32_t>(tag), {}, to);
      } else if ((level == Level::model && number == kGraphField) ||
                 (level == Level::graph && number == kInitializerField)) {
        if (level == Level::graph) ++initializer_;
        std::string inner;
        if (!message(level == Level::model ? Level::graph : Level::tensor, begin, at, &inner)) return false;
        put_field(static_cast<uint32_t>(tag), inner, to);
      } else {
        if (has_payload && number == kRawDataField) return false;
        window_.append(field, at, to);
      }
    }
    return true;
  }

  std::unordered_map<int, Extent> payloads;

 private:
  bool varint(int64_t* at, int64_t end, uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t b = 0;
      if (*at >= end || !window_.byte((*at)++, &b)) return false;
      *value |= uint64_t{b & 0x7fu} << shift;
      if (b < 0x80) return true;
    }
    return false;
  }
  bool skip_number(int64_t* at, int64_t end, uint32_t wire_type) {
    uint64_t ignored = 0;
    switch (wire_type) {
      case 0:
        return varint(at, end, &ignored);
      case 1:
        return (*at += 8) <= end;
      case 5:
        return (*at += 4) <= end;
      default:
        return false;
    }
  }
  static void put_field(uint32_t tag, const std::string& content, std::string* to) {
    put_varint(tag, to);
    put_varint(content.size(), to);
    *to += content;
  }

  Window window_;
  int initializer_ = -1;
};

}  // namespace

std::optional<Skeleton> read_skeleton(const RegularFile& file) {
  Builder builder(file);
  Skeleton s;
  if (!builder.message(Level::model, 0, file.size, &s.bytes)) return std::nullopt;
  s.payloads = std::move(builder.payloads);
  return s;
}

}  // namespace skyline::onnx
