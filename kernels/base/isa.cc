#include "skyline/isa.h"

#include "skyline/status.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace skyline {
namespace {

#if defined(__x86_64__)
uint64_t xcr0() {
  uint32_t lo = 0, hi = 0;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t{hi} << 32) | lo;
}

// Linux hands out the 8 KiB of tile state only on request, once per process (arch_prctl, XFEATURE_XTILEDATA =
// 18).
bool amx_permitted() {
  constexpr int kArchReqXcompPerm = 0x1023, kXtileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXtileData) == 0;
}

IsaSet detect() {
  IsaSet set = kIsaSse2;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return set;
  const bool osxsave = c & (1u << 27), fma = c & (1u << 12), f16c = c & (1u << 29);
  if (!osxsave) return set;
  const uint64_t state = xcr0();
  const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6, tiles = (state & 0x60000) == 0x60000;
  unsigned b7 = 0, c7 = 0, d7 = 0, a71 = 0;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return set;
  if (__get_cpuid_count(7, 1, &a71, &b, &c, &d) == 0) a71 = 0;
  if (!ymm || !(b7 & (1u << 5)) || !fma || !f16c) return set;
  set |= kIsaAvx2;
  if (a71 & (1u << 4)) set |= kIsaAvxVnni;
  const unsigned f_dq_cd_bw_vl = (1u << 16) | (1u << 17) | (1u << 28) | (1u << 30) | (1u << 31);
  if (!zmm || (b7 & f_dq_cd_bw_vl) != f_dq_cd_bw_vl) return set;
  set |= kIsaAvx512;
  if (c7 & (1u << 11)) set |= kIsaVnni;
  if (a71 & (1u << 5)) set |= kIsaBf16;
  if (d7 & (1u << 23)) set |= kIsaFp16;
  if (tiles && (d7 & (1u << 24)) && amx_permitted()) {
    if (d7 & (1u << 25)) set |= kIsaAmxInt8;
    if (d7 & (1u << 22)) set |= kIsaAmxBf16;
  }
  return set;
}
#elif defined(__aarch64__)
IsaSet detect() {
  IsaSet set = kIsaNeon;
  const unsigned long caps = getauxval(AT_HWCAP);
  if (caps & HWCAP_ASIMDDP) set |= kIsaDotprod;
  if (caps & HWCAP_ASIMDHP) set |= kIsaNeonFp16;
  return set;
}
#else
IsaSet detect() {
  return kIsaNone;
}
#endif

struct Level {
  std::string_view name;
  IsaSet needs;    // bits that make the level what it is
  IsaSet allowed;  // bits at and below it
};
constexpr IsaSet kUpToAvx2 = kIsaSse2 | kIsaAvx2;
constexpr IsaSet kUpToAvx512 = kUpToAvx2 | kIsaAvx512;
constexpr IsaSet kUpToVnni = kUpToAvx512 | kIsaVnni | kIsaAvxVnni;
constexpr IsaSet kUpToFp16 = kUpToVnni | kIsaBf16 | kIsaFp16;
constexpr Level kLevels[] = {
    // highest first within an architecture
    {"amx", kIsaAmxInt8 | kIsaAmxBf16, kUpToFp16 | kIsaAmxInt8 | kIsaAmxBf16},
    {"avx512_fp16", kIsaFp16, kUpToFp16},
    {"avx512_vnni", kIsaVnni, kUpToVnni},
    {"avx512", kIsaAvx512, kUpToAvx512},
    {"avx2_vnni", kIsaAvxVnni, kUpToAvx2 | kIsaAvxVnni},
    {"avx2", kIsaAvx2, kUpToAvx2},
    {"sse2", kIsaSse2, kIsaSse2},
    {"neon_dotprod", kIsaDotprod, kIsaNeon | kIsaDotprod | kIsaNeonFp16},
    {"neon", kIsaNeon, kIsaNeon},
};
struct Bit {
  IsaSet bit;
  std::string_view name;
};
constexpr Bit kBits[] = {{kIsaSse2, "sse2"}, {kIsaAvx2, "avx2"},        {kIsaAvx512, "avx512"},
                         {kIsaVnni, "vnni"}, {kIsaAvxVnni, "avx_vnni"}, {kIsaBf16, "bf16"},
                         {kIsaFp16, "fp16"}, {kIsaAmxInt8, "amx_int8"}, {kIsaAmxBf16, "amx_bf16"},
                         {kIsaNeon, "neon"}, {kIsaDotprod, "dotprod"},  {kIsaNeonFp16, "neon_fp16"}};

}  // namespace

IsaSet isa_detected() noexcept {
  static const IsaSet set = detect();
  return set;
}

IsaSet isa_level(std::string_view level) {
  if (level == "native") return isa_detected();
  std::string known;
  for (const Level& l : kLevels) {
    if (l.name == level) {
      if ((l.needs & isa_detected()) != l.needs) {
        throw Error(Code::unsupported, "this CPU lacks ISA level '" + std::string(level) + "'; it has " +
                                           isa_to_string(isa_detected()));
      }
      return l.allowed & isa_detected();
    }
    known += known.empty() ? "" : ", ";
    known += l.name;
  }
  throw Error(Code::invalid, "unknown ISA level '" + std::string(level) + "'; known: native, " + known);
}

std::string_view isa_level_name(IsaSet set) noexcept {
  for (const Level& l : kLevels) {
    if ((l.needs & set) == l.needs) return l.name;
  }
  return "none";
}

std::string isa_to_string(IsaSet set) {
  std::string s;
  for (const Bit& b : kBits) {
    if (set & b.bit) s += (s.empty() ? "" : "+") + std::string(b.name);
  }
  return s;
}

}  // namespace skyline
