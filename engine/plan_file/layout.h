#pragma once
// A plan file: a header, a FlatBuffers table (plan.fbs) that says what is there, and bytes that are used
// where they are: constants and packed weights.
//
//   0                     Header
//   sizeof(Header)        the table, `table_bytes` long
//   data_start(header)    blobs, each at a multiple of kBlobAlign (large ones of kPage), to the end of the
//   file
//
// Numbers are little-endian. Nothing is used before header, table and blobs have matched their checksums, the
// table has passed FlatBuffers' verifier, and every number in it has been checked against what it counts.
#include <cstdint>
#include <cstring>

namespace skyline::plan_file {

inline constexpr char kMagic[8] = {'S', 'k', 'y', 'P', 'l', 'a', 'n', '\n'};
inline constexpr uint32_t kFormat = 1;  // of this file; another one is refused
inline constexpr uint64_t kBlobAlign = 64, kPage = 4096, kNoPlace = ~uint64_t{0};
inline constexpr uint32_t kNone = ~uint32_t{0};

struct Header {
  char magic[8];
  uint32_t format;
  uint32_t byte_order;  // kByteOrder, as the writer's CPU stores it
  uint64_t file_bytes;
  uint64_t table_bytes;
  uint64_t table_checksum;
  uint64_t unused[2];  // 0
  uint64_t checksum;   // of all before it
};
static_assert(sizeof(Header) == 64);
inline constexpr uint32_t kByteOrder = 0x01020304;

constexpr uint64_t align_up(uint64_t n, uint64_t to) {
  return (n + to - 1) / to * to;
}
// table_bytes must have been checked against file_bytes.
constexpr uint64_t data_start(const Header& h) {
  return align_up(sizeof(Header) + h.table_bytes, kPage);
}

// Finds accidents, not attacks. Eight chains, since one multiply takes longer than reading eight bytes.
inline uint64_t checksum(const void* data, uint64_t bytes) noexcept {
  constexpr uint64_t kPrime = 0x9e3779b97f4a7c15u;
  constexpr uint64_t kLanes = 8;
  const auto* p = static_cast<const unsigned char*>(data);
  uint64_t lane[kLanes];
  for (uint64_t i = 0; i < kLanes; ++i) lane[i] = kPrime * (i + 1) ^ bytes;
  const auto mix = [](uint64_t h, uint64_t word) {
    h = (h ^ word) * kPrime;
    return h ^ h >> 29;
  };
  uint64_t at = 0;
  for (; at + 8 * kLanes <= bytes; at += 8 * kLanes) {
#pragma GCC unroll 8
    for (uint64_t i = 0; i < kLanes; ++i) {
      uint64_t word;
      std::memcpy(&word, p + at + 8 * i, 8);
      lane[i] = mix(lane[i], word);
    }
  }
  for (; at < bytes; ++at) lane[at % kLanes] = mix(lane[at % kLanes], p[at]);
  uint64_t h = bytes;
  for (const uint64_t x : lane) h = mix(h, x);
  return h;
}

}  // namespace skyline::plan_file
