#pragma once
// What the CPU and the operating system let us execute, and how a caller caps it.
#include <cstdint>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// Bits of instruction-set support. A kernel names the bits it needs; it is usable where they are all present.
enum IsaBits : uint32_t {
  kIsaNone = 0,
  kIsaSse2 = 1u << 0,     // x86-64 baseline
  kIsaAvx2 = 1u << 1,     // AVX2, FMA3 and F16C together
  kIsaAvx512 = 1u << 2,   // F, BW, DQ, VL, CD
  kIsaVnni = 1u << 3,     // AVX512-VNNI
  kIsaAvxVnni = 1u << 4,  // VEX-encoded VNNI
  kIsaBf16 = 1u << 5,     // AVX512-BF16
  kIsaFp16 = 1u << 6,     // AVX512-FP16
  kIsaAmxInt8 = 1u << 7,  // with the OS's permission to use tiles
  kIsaAmxBf16 = 1u << 8,
  kIsaNeon = 1u << 16,  // aarch64 baseline
  kIsaDotprod = 1u << 17,
  kIsaNeonFp16 = 1u << 18,
};
using IsaSet = uint32_t;

// What this machine has: CPUID / hwcaps and the OS's state (XCR0; arch_prctl for AMX tiles). Measured once.
IsaSet isa_detected() noexcept;

// The bits at and below a named level: sse2, avx2, avx512, avx512_vnni, avx512_fp16, amx, neon, neon_dotprod,
// or "native" for all that was detected. Throws Error{unsupported} if this machine lacks the level, naming
// what it has; Error{invalid} for an unknown name.
IsaSet isa_level(std::string_view level);

// The highest level's name, as isa_level takes it.
std::string_view isa_level_name(IsaSet set) noexcept;
// Every bit by name, "sse2+avx2+avx512+vnni".
std::string isa_to_string(IsaSet set);

}  // namespace skyline
#pragma GCC visibility pop
