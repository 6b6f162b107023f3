#include "tests/kernels/conv/cases.h"

TEST_CASE("f32 conv: 1x1, strides, paddings, dilations and kernels of all sizes") {
  int variant = 0;
  for (int64_t ic : {1, 3, 9, 17}) {
    for (int64_t oc : {1, 8, 33}) {
      check_f32(image(ic, oc, 5, 7, 1, 1, 0), variant++);
      check_f32(image(ic, oc, 5, 7, 1, 2, 0), variant++);
      check_f32(image(ic, oc, 9, 6, 3, 1, 1), variant++);
      check_f32(image(ic, oc, 9, 8, 3, 2, 1), variant++);
      check_f32(image(ic, oc, 8, 9, 5, 2, 2), variant++);
    }
  }
  ConvProblem p = image(4, 6, 10, 11, 3, 1, 0);
  p.kernel = {1, 2, 3};
  p.dilation = {1, 3, 2};
  p.stride = {1, 1, 2};
  p.pad_begin = {0, 4, 0};
  p.pad_end = {0, 1, 3};
  check_f32(p, 7);
  p.pad_begin = {0, -1, -2};  // crops
  check_f32(p, 3);
}

TEST_CASE("f32 conv: windows of 3, 5 and 6 on lines of all lengths, channels-first input, runs of lines") {
  int variant = 0;
  for (int64_t width : {1, 4, 13, 29, 58}) {
    for (int64_t stride : {1, 2}) {
      for (int64_t k : {3, 5, 6}) {
        check_f32(image(2, 7, 6, width, k, stride, k / 2), variant++);
        check_f32(image(9, 33, 5, width, k, stride, 1), variant++);
        ConvProblem planar = image(3, 9 + 20 * stride, 6, width + 4, k, stride, k / 2);
        planar.planar = true;
        check_f32(planar, variant++ & ~1);
      }
    }
  }
  ConvProblem dilated = image(20, 70, 9, 31, 3, 2, 2);
  dilated.dilation = {1, 2, 2};
  dilated.stride = {1, 1, 2};
  check_f32(dilated, 5);
  ConvProblem planar = image(4, 65, 9, 31, 7, 2, 3);
  planar.planar = true;
  planar.dilation = {1, 2, 1};
  check_f32(planar, 6);
  check_f32(image(40, 70, 30, 60, 3, 1, 1), 7);  // several blocks of lines and chains
}

TEST_CASE("f32 conv: 1x1 over several blocks of pixels and panels, weights within and beyond L2") {
  int variant = 0;
  for (int64_t ic : {5, 300, 1100}) {
    for (int64_t oc : {30, 70, 130}) check_f32(image(ic, oc, 8, 9, 1, 1, 0), variant++);
  }
  check_f32(image(2100, 260, 3, 5, 1, 1, 0), 14);
  for (int64_t groups : {2, 5}) {
    for (int64_t stride : {1, 2}) {
      ConvProblem p = image(groups * 33, groups * 70, 8, 9, 1, stride, 0);
      p.groups = groups;
      check_f32(p, variant++);
    }
  }
}

TEST_CASE("f32 conv: winograd over tiles that the image cuts, channel tails, several blocks and threads") {
  int variant = 0;
  for (int64_t width : {1, 3, 4, 7, 14}) {
    for (int64_t pad : {0, 1, 2})
      check_f32(image(16 + width, 15 + 4 * width, 6, width + 2, 3, 1, pad), variant++);
  }
  check_f32(image(40, 70, 50, 40, 3, 1, 1), 7);
}

// The root mean square of the difference from float64 of every output, over that of a plain f32 loop.
TEST_CASE("f32 conv: errors of all methods stay within 4 times a plain loop's") {
  for (int64_t ic : {16, 64, 200}) {
    ConvProblem p = image(ic, 16, 8, 9, 3, 1, 1);
    p.n = 1;
    std::vector<float> x = fill<float>(p.in_pixels() * ic, 21, -4000, 9000),
                       w = fill<float>(16 * ic * 9, 22, -5000, 5000);
    for (float& v : x) v = std::max(v, 0.0f) * 1.37e-4f;
    for (float& v : w) v *= 1.13e-4f;
    std::vector<double> exact;
    double plain = 0;
    for (int64_t oy = 0; oy < 8; ++oy) {
      for (int64_t ox = 0; ox < 9; ++ox) {
        for (int64_t oc = 0; oc < 16; ++oc) {
          double sum = 0;
          float rough = 0;
          for (int64_t c = 0; c < ic; ++c) {
            for (int64_t tap = 0; tap < 9; ++tap) {
              const int64_t y = oy + tap / 3 - 1, at = ox + tap % 3 - 1;
              if (y < 0 || y >= 8 || at < 0 || at >= 9) continue;
              const float a = x[static_cast<size_t>((y * 9 + at) * ic + c)];
              const float b = w[static_cast<size_t>((oc * ic + c) * 9 + tap)];
              sum += static_cast<double>(a) * static_cast<double>(b);
              rough += a * b;
            }
          }
          exact.push_back(sum);
          plain += (static_cast<double>(rough) - sum) * (static_cast<double>(rough) - sum);
        }
      }
    }
    for (const IsaSet isa : levels()) {
      for (const ConvAlgorithm& a : conv_algorithms()) {
        if (!a.refusal(p, isa).empty()) continue;
        const auto got = run({p, {.x = x.data()}, {.w = w.data()}, 1}, conv_plan(p, isa, {.algorithm = &a}));
        double error = 0;
        for (size_t i = 0; i < exact.size(); ++i) {
          const double e = static_cast<double>(reinterpret_cast<const float*>(got.data())[i]) - exact[i];
          error += e * e;
        }
        CAPTURE(a.name);
        CAPTURE(ic);
        CHECK(std::sqrt(error / plain) < 4);
      }
    }
  }
}

TEST_CASE("f32 conv: one and three dimensions, kernels larger than the input") {
  ConvProblem line{.n = 3, .ic = 5, .oc = 7};
  line.in = {1, 1, 23};
  line.kernel = {1, 1, 5};
  line.pad_begin = line.pad_end = {0, 0, 2};
  check_f32(line, 5);
  ConvProblem volume{.n = 2, .ic = 3, .oc = 10};
  volume.in = {4, 5, 6};
  volume.kernel = {2, 3, 3};
  volume.stride = {1, 2, 1};
  volume.pad_begin = {1, 1, 0};
  volume.pad_end = {0, 1, 2};
  check_f32(volume, 14);
  check_f32(image(9, 4, 2, 2, 5, 1, 2), 6);
  check_f32(image(9, 4, 1, 1, 3, 1, 1), 1);
}

TEST_CASE("f32 conv: groups and depthwise with all strides, dilations and channel tails") {
  int variant = 0;
  for (int64_t c : {2, 5, 16, 35}) {
    for (int64_t k : {3, 5, 6}) {
      for (int64_t stride : {1, 2, 3}) {
        for (int64_t dilation : {1, 2}) {
          ConvProblem p = image(c, c, 7, 21, k, stride, k / 2);
          p.groups = c;
          p.dilation = {1, dilation, dilation};
          check_f32(p, variant++);
        }
      }
    }
  }
  ConvProblem wide = image(4, 4, 3, 4, 7, 1, 6);  // some output columns see no input at all
  wide.groups = 4;
  check_f32(wide, 9);
  ConvProblem volume = image(3, 3, 5, 6, 3, 1, 1);
  volume.in[0] = volume.kernel[0] = 3;
  volume.pad_begin[0] = 1;
  volume.groups = 3;
  check_f32(volume, 12);
  ConvProblem grouped = image(12, 18, 6, 5, 3, 1, 1);
  grouped.groups = 3;
  check_f32(grouped, 15);
  ConvProblem pixels = image(12, 18, 6, 5, 1, 1, 0);
  pixels.groups = 3;
  check_f32(pixels, 13);
  ConvProblem multiplier = image(4, 12, 6, 5, 3, 2, 1);
  multiplier.groups = 4;
  check_f32(multiplier, 10);
}

TEST_CASE("f32 transposed conv: strides above and below the kernel, dilation, groups, output padding") {
  int variant = 0;
  for (int64_t k : {1, 2, 3, 4}) {
    for (int64_t stride : {1, 2, 3}) {
      for (int64_t dilation : {1, 2}) {
        ConvProblem p = image(5, 9, 4, 5, k, stride, k > 2 ? 1 : 0);
        p.transposed = true;
        p.dilation = {1, dilation, dilation};
        p.output_padding = {0, stride > 1 ? 1 : 0, 0};
        check_f32(p, variant++);
      }
    }
  }
  ConvProblem p = image(6, 4, 3, 3, 3, 2, 0);
  p.transposed = true;
  p.groups = 2;
  p.in[0] = 2;
  p.kernel[0] = 2;
  p.stride[0] = 2;
  check_f32(p, 12);
}

TEST_CASE("f32 conv: few output channels, lines of all lengths, padding, strides, dilations") {
  int variant = 0;
  for (int64_t oc = 1; oc <= 9; ++oc) {
    for (int64_t width : {1, 8, 21}) {
      for (int64_t ic : {1, 7, 24}) {
        check_f32(image(ic, oc, 4, width, 5, 1, 2), variant);
        check_f32(image(ic * 5, oc, 3, width, 3, 2, 1), variant + 3);
        ConvProblem p = image(ic * 3, oc, 7, width + 2, 3, 1, 1);
        p.dilation = {1, 2, 2};
        check_f32(p, variant++);
      }
    }
    check_f32(image(100, oc, 3, 13, 1, 1, 0), variant++);
    ConvProblem planar = image(1, oc, 1, 90, 1, 1, 0);
    planar.kernel[2] = 64;
    planar.stride[2] = 3;
    planar.planar = true;
    check_f32(planar, variant & ~1);
  }
}

TEST_CASE("f32 transposed conv: kernels as large as the stride") {
  int variant = 0;
  for (int64_t k : {1, 2, 3}) {
    for (int64_t oc : {1, 5, 16, 70}) {
      for (int64_t ic : {1, 16, 33}) {
        ConvProblem p = image(ic, oc, 4, 7, k, k, 0);
        p.transposed = true;
        check_f32(p, variant++);
        check_f32(p, 15 - variant % 16);
      }
    }
  }
  ConvProblem p = image(6, 4, 3, 30, 2, 2, 0);
  p.transposed = true;
  p.in[0] = 2;
  p.kernel[0] = p.stride[0] = 3;
  check_f32(p, 13);
  check_f32(p, 7);
}

TEST_CASE("conv: the same bits for any number of threads") {
  for (int64_t groups : {1, 32}) {
    ConvProblem p = image(32, 32, 20, 20, 3, 1, 1);
    p.groups = groups;
    std::vector<float> x = fill<float>(p.n * p.in_pixels() * p.ic, 5, -1000, 1000);
    for (float& v : x) v *= 0.00137f;
    const auto w = fill<float>(p.ic / groups * p.oc * p.taps(), 6, -100, 100);
    for (const IsaSet isa : levels()) {
      for (const ConvAlgorithm& a : conv_algorithms()) {
        if (!a.refusal(p, isa).empty()) continue;
        const ConvPlan plan = conv_plan(p, isa, {.algorithm = &a});
        Case c{p, {.x = x.data()}, {.w = w.data()}, 1};
        const auto one = run(c, plan);
        for (int threads : {2, 3, 8}) {
          c.threads = threads;
          CHECK(run(c, plan) == one);
        }
      }
    }
  }
}

namespace {
// One shape in all types. centered: the weights' zero point is the one that dense kernels take.
void check_bytes(ConvProblem p, bool centered, int variant) {
  p.centered_b = centered;
  for (DType ta : {DType::u8, DType::i8}) {
    for (DType tb : {DType::u8, DType::i8}) {
      for (DType tc : {DType::i32, DType::u8, DType::i8, DType::f32}) {
        p.a = ta;
        p.b = tb;
        p.c = tc;
        const int64_t ldx = p.ic + (variant % 5 == 4 ? 3 : 0), ldy = p.oc + (variant % 3 == 2 ? 5 : 0);
        const int a0 = ta == DType::u8 ? 0 : -128, b0 = tb == DType::u8 ? 0 : -128;
        const auto x = fill<uint8_t>(p.n * p.in_pixels() * ldx, 7, a0, a0 + 255);
        const auto w = fill<uint8_t>(p.ic * p.oc / p.groups * p.taps(), 8, b0, b0 + 255);
        auto zeros = fill<uint8_t>(p.oc, 9, b0, b0 + 255);
        if (centered) std::fill(zeros.begin(), zeros.end(), static_cast<uint8_t>(tb == DType::u8 ? 128 : 0));
        const auto bias = fill<int32_t>(p.oc, 10, -500, 500);
        std::vector<float> scale = fill<float>(p.oc, 11, 1, 9);
        for (float& s : scale) s *= 0.000713f;
        Case c{p,
               {.x = x.data(), .ldx = ldx, .ldy = ldy},
               {.w = w.data(), .zero_point = zeros.data(), .zero_point_per_oc = true},
               1 + variant % 3};
        c.args.x_zero = ta == DType::u8 ? 117 : -9;
        c.args.epilogue = {.bias_i32 = bias.data(), .scale_n = scale.data(), .zero_point = 7};
        if (variant % 4 == 3) c.args.epilogue.act.fn = Act::relu;
        ++variant;
        check(c);
      }
    }
  }
}
}  // namespace

TEST_CASE("int8 conv: exact with zero points on every method, padding reads as the zero point") {
  for (int shape = 0; shape < 5; ++shape) {
    ConvProblem p = image(shape == 0 ? 9 : 6, 6, 6, 7, shape == 0 ? 1 : 3, 1 + shape % 2, shape == 0 ? 0 : 1);
    if (shape == 0) p.stride = {1, 1, 1};
    if (shape == 2) p.groups = 6;
    if (shape == 3) p.groups = 2;
    if (shape == 4) p.transposed = true;
    check_bytes(p, false, shape);
    check_bytes(p, true, shape + 1);
  }
}

TEST_CASE("int8 conv: depthwise of all channel counts, kernels, strides and dilations") {
  int variant = 0;
  for (int64_t c : {2, 16, 63, 64, 65, 130}) {
    for (int64_t k : {1, 3, 5}) {
      for (int64_t stride : {1, 2}) {
        ConvProblem p = image(c, c, 7, 6, k, stride, k / 2);
        p.groups = c;
        p.dilation = {1, 1, 1 + variant % 2};
        check_bytes(p, true, variant++);
      }
    }
  }
}

TEST_CASE("int8 conv: patches of all strides, dilations and channel counts") {
  check_bytes(image(64, 40, 5, 9, 1, 1, 0), true, 0);
  check_bytes(image(20, 17, 7, 8, 1, 2, 0), true, 1);
  check_bytes(image(3, 33, 9, 11, 5, 2, 2), true, 2);
  check_bytes(image(16, 8, 6, 6, 3, 1, 1), true, 3);
  check_bytes(image(70, 4, 6, 5, 3, 1, 0), true, 4);
  ConvProblem p = image(5, 6, 8, 9, 3, 1, 2);
  p.dilation = {1, 2, 2};
  check_bytes(p, true, 5);
  p.dilation = {1, 2, 1};
  check_bytes(p, true, 6);
  check_bytes(image(3, 40, 9, 83, 7, 2, 3), true, 7);  // lines of more than one tile
  check_bytes(image(3, 9, 23, 30, 7, 2, 3), true, 8);  // patches inside, and lines of up to 32 bytes
  check_bytes(image(8, 9, 9, 12, 4, 1, 1), true, 9);
  p = image(4, 5, 9, 37, 3, 2, 1);
  p.stride = {1, 1, 3};
  check_bytes(p, true, 8);
  p.stride = {1, 2, 1};
  check_bytes(p, true, 9);
  p = image(4, 5, 3, 4, 2, 1, 1);
  p.in[0] = 3;
  p.kernel[0] = 2;
  check_bytes(p, true, 6);
}

TEST_CASE("conv: the method chosen, and why others refuse") {
  const IsaSet isa = isa_detected();
  CHECK(conv_plan(image(32, 8, 5, 5, 1, 1, 0), isa).algorithm->name == "direct");
  CHECK(conv_plan(image(32, 8, 1, 1, 1, 1, 0), isa).algorithm->name == "gemm");
  CHECK(conv_plan(image(3, 8, 5, 5, 3, 2, 1), isa).algorithm->name == "direct");
  CHECK(conv_plan(image(32, 8, 5, 5, 3, 2, 1), isa).algorithm->name == "direct");
  CHECK(conv_plan(image(64, 64, 56, 56, 3, 1, 1), isa).algorithm->name == "winograd");
  ConvProblem far = image(256, 256, 14, 14, 3, 1, 1);
  far.n = 1;
  CHECK(conv_plan(far, isa).algorithm->name == "winograd2");
  CHECK(conv_plan(image(64, 64, 56, 56, 3, 1, 1), isa, {.winograd = false}).algorithm->name == "direct");
  ConvProblem p = image(32, 32, 5, 5, 3, 1, 1);
  p.groups = 32;
  CHECK(conv_plan(p, isa).algorithm->name == "depthwise");
  const auto all = conv_algorithms();
  const auto gemm =
      std::find_if(all.begin(), all.end(), [](const ConvAlgorithm& a) { return a.name == "gemm"; });
  CHECK_THROWS_AS(conv_plan(p, isa, {.algorithm = &*gemm}), Error);
  p.groups = 5;
  CHECK_THROWS_AS(conv_plan(p, isa), Error);
  p = image(3, 8, 5, 5, 3, 1, 0);
  p.in = {int64_t{1} << 30, 1 << 20, 8};
  CHECK_THROWS_AS(conv_plan(p, isa), Error);
}
