#include "graph/onnx/wire.h"

#include <algorithm>
#include <vector>

#include "skyline/status.h"

namespace skyline::onnx {
namespace {

enum class Kind : uint8_t { varint, varints, fixed32, floats, doubles, bytes, name, message };

struct Field {
  uint8_t number;
  Kind kind;
  Message child = Message::model;
};

using enum Kind;

constexpr Field kModel[] = {{1, varint},
                            {2, bytes},
                            {3, bytes},
                            {4, bytes},
                            {5, varint},
                            {6, bytes},
                            {7, message, Message::graph},
                            {8, message, Message::opset},
                            {14, message, Message::entry},
                            {25, message, Message::function}};
constexpr Field kGraph[] = {{1, message, Message::node},        {2, name},
                            {5, message, Message::tensor},      {10, bytes},
                            {11, message, Message::value_info}, {12, message, Message::value_info},
                            {13, message, Message::value_info}, {15, message, Message::sparse}};
constexpr Field kFunction[] = {{1, name},
                               {4, name},
                               {5, name},
                               {6, name},
                               {7, message, Message::node},
                               {8, bytes},
                               {9, message, Message::opset},
                               {10, name},
                               {11, message, Message::attribute},
                               {12, message, Message::value_info},
                               {13, name}};
constexpr Field kNode[] = {{1, name},  {2, name}, {3, name}, {4, name}, {5, message, Message::attribute},
                           {6, bytes}, {7, name}, {8, name}};
constexpr Field kAttribute[] = {{1, name},
                                {2, fixed32},
                                {3, varint},
                                {4, bytes},
                                {5, message, Message::tensor},
                                {6, message, Message::graph},
                                {7, floats},
                                {8, varints},
                                {9, bytes},
                                {10, message, Message::tensor},
                                {11, message, Message::graph},
                                {13, bytes},
                                {14, message, Message::type},
                                {15, message, Message::type},
                                {20, varint},
                                {21, name},
                                {22, message, Message::sparse},
                                {23, message, Message::sparse}};
constexpr Field kTensor[] = {{1, varints},
                             {2, varint},
                             {3, message, Message::segment},
                             {4, floats},
                             {5, varints},
                             {6, bytes},
                             {7, varints},
                             {8, name},
                             {9, bytes},
                             {10, doubles},
                             {11, varints},
                             {12, bytes},
                             {13, message, Message::entry},
                             {14, varint}};
constexpr Field kSegment[] = {{1, varint}, {2, varint}};
constexpr Field kSparse[] = {{1, message, Message::tensor}, {2, message, Message::tensor}, {3, varints}};
constexpr Field kValueInfo[] = {{1, name}, {2, message, Message::type}, {3, bytes}};
constexpr Field kType[] = {{1, message, Message::type_tensor}, {4, message, Message::type_nested},
                           {5, message, Message::type_map},    {7, message, Message::type_opaque},
                           {8, message, Message::type_tensor}, {9, message, Message::type_nested}};
constexpr Field kTypeTensor[] = {{1, varint}, {2, message, Message::shape}};
constexpr Field kTypeNested[] = {{1, message, Message::type}};
constexpr Field kTypeMap[] = {{1, varint}, {2, message, Message::type}};
constexpr Field kTypeOpaque[] = {{1, name}, {2, name}};
constexpr Field kShape[] = {{1, message, Message::dim}};
constexpr Field kDim[] = {{1, varint}, {2, name}};
constexpr Field kOpset[] = {{1, name}, {2, varint}};
constexpr Field kEntry[] = {{1, bytes}, {2, bytes}};
constexpr Field kSequence[] = {{1, name},
                               {2, varint},
                               {3, message, Message::tensor},
                               {4, message, Message::sparse},
                               {5, message, Message::sequence},
                               {7, message, Message::optional}};
constexpr Field kOptional[] = {{1, name},
                               {2, varint},
                               {3, message, Message::tensor},
                               {4, message, Message::sparse},
                               {5, message, Message::sequence},
                               {7, message, Message::optional}};

struct Layout {
  std::string_view name;
  std::span<const Field> fields;
};

// In the order of Message.
constexpr Layout kLayouts[] = {
    {"ModelProto", kModel},
    {"GraphProto", kGraph},
    {"FunctionProto", kFunction},
    {"NodeProto", kNode},
    {"AttributeProto", kAttribute},
    {"TensorProto", kTensor},
    {"Segment", kSegment},
    {"SparseTensorProto", kSparse},
    {"ValueInfoProto", kValueInfo},
    {"TypeProto", kType},
    {"TypeProto.Tensor", kTypeTensor},
    {"TypeProto.Sequence", kTypeNested},
    {"TypeProto.Map", kTypeMap},
    {"TypeProto.Opaque", kTypeOpaque},
    {"TensorShapeProto", kShape},
    {"Dimension", kDim},
    {"OperatorSetIdProto", kOpset},
    {"StringStringEntryProto", kEntry},
    {"SequenceProto", kSequence},
    {"OptionalProto", kOptional},
};

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

class Walker {
 public:
  Walker(std::span<const char> bytes, const WireLimits& limits)
      : begin_(bytes.data()), at_(bytes.data()), limits_(limits) {}

  void run(Message root, const char* end) {
    stack_.push_back({end, root});
    while (!stack_.empty()) {
      if (at_ == stack_.back().end) {
        stack_.pop_back();
      } else {
        field();
      }
    }
  }

 private:
  struct Frame {
    const char* end;
    Message message;
  };

  [[noreturn]] void fail(Code code, const std::string& what) const {
    throw Error(code, what + " at byte " + std::to_string(at_ - begin_) + ", in " +
                          std::string(kLayouts[static_cast<size_t>(stack_.back().message)].name));
  }
  size_t left() const { return static_cast<size_t>(stack_.back().end - at_); }

  uint64_t varint(const char* end) {
    uint64_t value = 0;
    for (int i = 0; i < 10; ++i) {
      if (at_ == end) fail(Code::parse, "a number is cut off");
      const auto byte = static_cast<uint8_t>(*at_++);
      value |= uint64_t{byte & 0x7fu} << (7 * i);
      if (byte < 0x80) return value;
    }
    fail(Code::parse, "a number is longer than 10 bytes");
  }
  void skip(uint64_t n) {
    if (n > left()) fail(Code::parse, "a length of " + std::to_string(n) + " bytes exceeds what is left");
    at_ += n;
  }

  void field() {
    const Frame frame = stack_.back();
    const uint64_t tag = varint(frame.end);
    const uint64_t number = tag >> 3;
    const auto wire = static_cast<uint32_t>(tag & 7);
    if (number == 0 || number >= (1u << 29)) fail(Code::parse, "field number " + std::to_string(number));
    const Field* known = nullptr;
    for (const Field& f : kLayouts[static_cast<size_t>(frame.message)].fields) {
      if (f.number == number) known = &f;
    }
    if (known) check_type(*known, wire);
    switch (wire) {
      case kVarint:
        varint(frame.end);
        break;
      case kFixed64:
        skip(8);
        break;
      case kFixed32:
        skip(4);
        break;
      case kLength: {
        const uint64_t n = varint(frame.end);
        const char* start = at_;
        skip(n);
        if (known) content(*known, start);
        break;
      }
      default:
        fail(Code::parse, "wire type " + std::to_string(wire));
    }
  }

  void check_type(const Field& f, uint32_t wire) const {
    bool fits = false;
    switch (f.kind) {
      case Kind::varint:
        fits = wire == kVarint;
        break;
      case varints:
        fits = wire == kVarint || wire == kLength;
        break;
      case fixed32:
        fits = wire == kFixed32;
        break;
      case floats:
        fits = wire == kFixed32 || wire == kLength;
        break;
      case doubles:
        fits = wire == kFixed64 || wire == kLength;
        break;
      case bytes:
      case name:
      case message:
        fits = wire == kLength;
        break;
    }
    if (!fits)
      fail(Code::parse, "field " + std::to_string(f.number) + " has wire type " + std::to_string(wire));
  }

  // at_ is behind the field's content, which begins at `start`.
  void content(const Field& f, const char* start) {
    const std::string_view text(start, static_cast<size_t>(at_ - start));
    switch (f.kind) {
      case floats:
        if (text.size() % 4) fail(Code::parse, "packed floats end inside a number");
        break;
      case doubles:
        if (text.size() % 8) fail(Code::parse, "packed doubles end inside a number");
        break;
      case name:
        check_name(text);
        break;
      case message: {
        if (++messages_ > limits_.max_messages) fail(Code::limit, "too many messages");
        if (static_cast<int>(stack_.size()) > limits_.max_depth) {
          fail(Code::limit, "messages nest deeper than " + std::to_string(limits_.max_depth));
        }
        stack_.push_back({at_, f.child});
        at_ = start;
        break;
      }
      default:
        break;
    }
  }

  void check_name(std::string_view text) const {
    if (static_cast<int64_t>(text.size()) > limits_.max_name_bytes) {
      fail(Code::limit, "a name of " + std::to_string(text.size()) + " bytes");
    }
    if (!is_utf8(text)) fail(Code::invalid, "the name " + quoted(text) + " is not UTF-8");
    if (text.find('\0') != text.npos) fail(Code::invalid, "the name " + quoted(text) + " holds a NUL");
  }

  const char* begin_;
  const char* at_;
  const WireLimits& limits_;
  std::vector<Frame> stack_;
  int64_t messages_ = 0;
};

// Length of the UTF-8 sequence at s[0], or 0 if it is not one (overlong forms, surrogates, beyond U+10FFFF).
size_t sequence_length(std::string_view s) {
  const auto byte = [&](size_t i) { return i < s.size() ? static_cast<uint8_t>(s[i]) : uint8_t{0}; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b < 0xe0) return tail(1) ? 2 : 0;
  if (b >= 0xe0 && b < 0xf0) {
    if (!tail(1) || !tail(2) || (b == 0xe0 && byte(1) < 0xa0) || (b == 0xed && byte(1) >= 0xa0)) return 0;
    return 3;
  }
  if (b >= 0xf0 && b < 0xf5) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if ((b == 0xf0 && byte(1) < 0x90) || (b == 0xf4 && byte(1) >= 0x90)) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

void check_wire(std::span<const char> bytes, Message root, const WireLimits& limits) {
  Walker(bytes, limits).run(root, bytes.data() + bytes.size());
}

bool is_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const size_t n = sequence_length(s.substr(i, 4));
    if (n == 0) return false;
    i += n;
  }
  return true;
}

std::string quoted(std::string_view s) {
  constexpr size_t kLongest = 120;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "'";
  size_t i = 0;
  while (i < s.size() && out.size() < kLongest) {
    const size_t n = sequence_length(s.substr(i, 4));
    const auto byte = static_cast<uint8_t>(s[i]);
    if (n == 0 || byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
      ++i;
    } else {
      out += s.substr(i, n);
      i += n;
    }
  }
  return out + (i < s.size() ? "'..." : "'");
}

}  // namespace skyline::onnx
