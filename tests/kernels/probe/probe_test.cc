#include "kernels/probe/probe.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "kernels/base/memory.h"

using namespace skyline;
using namespace skyline::kernels;

namespace {

template <class F>
void for_usable_probes(F&& f) {
  int seen = 0;
  for (const KernelInfo* info : all_kernels()) {
    if (info->op != "probe" || !usable(*info, isa_detected())) continue;
    CAPTURE(info->name);
    f(*reinterpret_cast<const ProbeTable*>(info));
    ++seen;
  }
  CHECK(seen > 0);
}

}  // namespace

TEST_CASE("probe: loops do the work that they are counted for") {
  constexpr int64_t kFloats = 1024;
  const AlignedBuffer memory = aligned_alloc_bytes(2 * kFloats * sizeof(float));
  float* x = reinterpret_cast<float*>(memory.get());
  float* y = x + kFloats;
  for_usable_probes([&](const ProbeTable& t) {
    std::fill(x, x + kFloats, 0.0f);
    t.write(x, kFloats);
    CHECK(std::all_of(x, x + kFloats, [](float v) { return v == 1.25f; }));
    std::fill(x, x + kFloats, 0.0f);
    t.stream(x, kFloats);
    CHECK(std::all_of(x, x + kFloats, [](float v) { return v == 1.25f; }));
    for (int64_t i = 0; i < kFloats; ++i) x[i] = static_cast<float>(i);
    t.copy(x, y, kFloats);
    CHECK(std::equal(x, x + kFloats, y));
    int32_t expected = 0;
    for (int64_t i = 0; i < kFloats; ++i) expected ^= reinterpret_cast<const int32_t*>(x)[i];
    CHECK(t.read(x, kFloats) == expected);
  });
}

TEST_CASE("probe: the tile loop is a product of matrices") {
  for_usable_probes([](const ProbeTable& t) {
    std::vector<float> a(static_cast<size_t>(t.tile_rows * t.tile_depth), 0.5f);
    std::vector<float> b(static_cast<size_t>(t.tile_columns * t.tile_depth), 2.0f);
    const float all = static_cast<float>(t.tile_rows * t.tile_columns * t.tile_depth);
    CHECK(t.tile(a.data(), b.data(), 1) == all);
    CHECK(t.tile(a.data(), b.data(), 3) == 3 * all);
  });
}

TEST_CASE("probe: rates are positive for any number of threads") {
  const ProbeTable& t = probe_kernels(isa_detected());
  for (int threads : {1, 3}) {
    CHECK(probe_compute(t, Compute::tile, threads) > 0);
    CHECK(probe_traffic(t, Traffic::copy, 1 << 14, threads) > 0);
    CHECK(probe_traffic(t, Traffic::read, 1, threads) > 0);  // rounded up to what the loops need
  }
}
