// Matrix products, convolutions and recurrent cells against their reference.
#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr float kSum = 1e-5f;  // of sums of a few hundred terms

Attrs with(Attrs a, const Attrs& more) {
  for (const auto& [k, v] : more) a.set(k, v);
  return a;
}

}  // namespace

TEST_CASE("matmul") {
  Random random(11);
  const std::pair<Dims, Dims> shapes[] = {
      {{3, 5}, {5, 7}},
      {{1, 64}, {64, 33}},
      {{17, 31}, {31, 19}},
      {{2, 3, 5}, {5, 7}},
      {{5}, {5, 7}},
      {{3, 5}, {5}},
      {{5}, {5}},
      {{2, 3, 4, 5}, {2, 3, 5, 6}},
      {{3, 1, 5}, {3, 5, 2}},
      {{2, 1, 4, 5}, {3, 5, 6}},
      {{1, 3, 4, 5}, {2, 1, 5, 6}},
      {{3, 4, 5}, {5}},
      {{4}, {3, 4, 2}},
      {{1, 1}, {1, 1}},
  };
  for (const auto& [a, b] : shapes) {
    check_sweep(
        {.op = "MatMul", .operands = {input(random.f32(a)), input(random.f32(b))}, .tolerance = kSum});
    check_sweep(
        {.op = "MatMul", .operands = {input(random.f32(a)), constant(random.f32(b))}, .tolerance = kSum});
    check_sweep(
        {.op = "MatMul", .operands = {constant(random.f32(a)), input(random.f32(b))}, .tolerance = kSum});
  }
  for (const auto& [a, b] : {std::pair<Dims, Dims>{{0, 5}, {5, 3}}, {{3, 0}, {0, 4}}, {{0, 2, 3}, {3, 2}}})
    check_sweep({.op = "MatMul", .operands = {input(random.f32(a)), input(random.f32(b))}, .kernels = false});
}

TEST_CASE("gemm and its fused forms") {
  Random random(12);
  for (int i = 0; i < 24; ++i) {
    const int64_t m = random.integer(1, 20), n = random.integer(1, 40), k = random.integer(1, 50);
    const bool ta = random.coin(), tb = random.coin();
    const Attrs attrs{{"transA", int64_t{ta}}, {"transB", int64_t{tb}}, {"alpha", i % 3 ? 1.0f : 0.5f}};
    const Tensor a = random.f32(ta ? Dims{k, m} : Dims{m, k}), b = random.f32(tb ? Dims{n, k} : Dims{k, n});
    std::vector<Operand> in = {input(a), i % 2 ? input(b) : constant(b)};
    const Dims biases[] = {{n}, {1, n}, {m, n}};
    if (i % 4) in.push_back(input(random.f32(biases[i % 4 - 1])));
    check_sweep({.op = "Gemm", .operands = in, .attrs = attrs, .tolerance = kSum});
    const char* activations[] = {"none", "relu", "sigmoid", "tanh", "silu", "gelu", "hard_swish"};
    std::vector<Operand> fused = {input(a), constant(b), i % 2 ? Operand{} : constant(random.f32({n})),
                                  i % 3 ? input(random.f32({m, n})) : Operand{}};
    while (!fused.back().tensor.defined()) fused.pop_back();
    check_sweep({.op = "FusedGemm",
                 .operands = fused,
                 .attrs = with(attrs, {{"activation", std::string(activations[i % 7])}}),
                 .domain = "skyline",
                 .tolerance = kSum});
  }
  for (const Dims& c : {Dims{}, Dims{1}, Dims{5, 1}, Dims{1, 1}}) {  // one for all, one per row
    for (const int64_t n : {4, 1}) {
      check_sweep({.op = "Gemm",
                   .operands = {input(random.f32({5, 3})), input(random.f32({3, n})), input(random.f32(c))},
                   .tolerance = kSum});
    }
  }
  check_sweep({.op = "Gemm",
               .operands = {input(random.f32({5, 3})), input(random.f32({3, 4})), input(random.f32({4}))},
               .attrs = {{"beta", 0.5f}},
               .tolerance = kSum,
               .kernels = false});
}

TEST_CASE("fused matmul with batches") {
  Random random(13);
  const Tensor a = random.f32({2, 3, 4, 9}), b = random.f32({9, 17}), c = random.f32({2, 3, 9, 17});
  for (const Tensor& right : {b, c}) {
    check_sweep(
        {.op = "FusedMatMul",
         .operands = {input(a), input(right), constant(random.f32({17})), input(random.f32({2, 3, 4, 17}))},
         .attrs = {{"activation", std::string("relu")}},
         .domain = "skyline",
         .tolerance = kSum});
  }
}

TEST_CASE("convolution") {
  Random random(14);
  struct Shape {
    int64_t ic, oc, groups, size, kernel, stride, dilation, pad;
  };
  const Shape shapes[] = {{3, 8, 1, 9, 3, 1, 1, 1},  {8, 5, 1, 7, 1, 1, 1, 0},   {6, 6, 6, 8, 3, 1, 1, 1},
                          {4, 8, 2, 9, 3, 2, 1, 1},  {1, 3, 1, 11, 5, 2, 1, 2},  {7, 33, 1, 6, 3, 1, 2, 2},
                          {5, 10, 5, 8, 3, 2, 1, 0}, {16, 17, 1, 5, 2, 1, 1, 0}, {4, 1, 1, 1, 1, 1, 1, 0}};
  for (const Shape& s : shapes) {
    for (int rank = 1; rank <= 3; ++rank) {
      for (bool fused : {false, true}) {
        const auto r = static_cast<size_t>(rank);
        Dims x = {2, s.ic}, w = {s.oc, s.ic / s.groups};
        x.insert(x.end(), r, s.size);
        w.insert(w.end(), r, s.kernel);
        Attrs attrs{{"group", s.groups},
                    {"strides", Dims(r, s.stride)},
                    {"dilations", Dims(r, s.dilation)},
                    {"pads", Dims(2 * r, s.pad)}};
        std::vector<Operand> in = {input(random.f32(x)), constant(random.f32(w)),
                                   constant(random.f32({s.oc}))};
        if (!fused) {
          check_sweep({.op = "Conv", .operands = in, .attrs = attrs, .tolerance = kSum});
          if (rank == 2) {
            in[1].constant = false;
            check_sweep({.op = "Conv", .operands = in, .attrs = attrs, .tolerance = kSum});
          }
          continue;
        }
        const int64_t out = (s.size + 2 * s.pad - s.dilation * (s.kernel - 1) - 1) / s.stride + 1;
        Dims last = {2}, y = {2};
        last.insert(last.end(), r, s.size);
        last.push_back(s.ic);
        y.insert(y.end(), r, out);
        y.push_back(s.oc);
        in[0] = input(random.f32(last));
        in.push_back(input(random.f32(y)));
        attrs.set("layout", std::string("NHWC")).set("activation", std::string("relu"));
        check_sweep(
            {.op = "FusedConv", .operands = in, .attrs = attrs, .domain = "skyline", .tolerance = kSum});
      }
    }
  }
  for (const char* pad : {"SAME_UPPER", "SAME_LOWER", "VALID"}) {
    check_sweep({.op = "Conv",
                 .operands = {input(random.f32({1, 3, 10, 7})), constant(random.f32({4, 3, 3, 2}))},
                 .attrs = {{"auto_pad", std::string(pad)}, {"strides", Dims{2, 1}}},
                 .tolerance = kSum});
  }
  check_sweep({.op = "Conv",
               .operands = {input(random.f32({0, 3, 5, 5})), constant(random.f32({4, 3, 3, 3}))},
               .kernels = false});
}

TEST_CASE("transposed convolution") {
  Random random(15);
  for (int64_t stride : {1, 2, 3}) {
    for (int64_t groups : {1, 2}) {
      const int64_t more = stride > 1 ? 1 : 0;
      check_sweep({.op = "ConvTranspose",
                   .operands = {input(random.f32({2, 4, 5, 6})), constant(random.f32({4, 3, 3, 2})),
                                constant(random.f32({3 * groups}))},
                   .attrs = {{"strides", Dims{stride, stride}},
                             {"pads", Dims{1, 0, 0, 1}},
                             {"group", groups},
                             {"output_padding", Dims{more, 0}}},
                   .tolerance = kSum});
    }
  }
  check_sweep({.op = "FusedConvTranspose",
               .operands = {input(random.f32({2, 5, 6, 4})), constant(random.f32({4, 3, 3, 2})),
                            constant(random.f32({6})), input(random.f32({2, 11, 12, 6}))},
               .attrs = {{"strides", Dims{2, 2}},
                         {"pads", Dims{1, 0, 0, 1}},
                         {"group", int64_t{2}},
                         {"output_padding", Dims{1, 1}},
                         {"layout", std::string("NHWC")},
                         {"activation", std::string("relu")}},
               .domain = "skyline",
               .tolerance = kSum});
  check_sweep({.op = "ConvTranspose",
               .operands = {input(random.f32({1, 3, 7})), constant(random.f32({3, 2, 4}))},
               .attrs = {{"strides", Dims{2}}},
               .tolerance = kSum});
}

TEST_CASE("recurrent cells") {
  Random random(16);
  const std::tuple<const char*, int64_t, int64_t> cells[] = {{"RNN", 1, 5}, {"GRU", 3, 6}, {"LSTM", 4, 7}};
  for (const auto& [name, gates, state] : cells) {
    for (int i = 0; i < 24; ++i) {
      const int64_t seq = random.integer(1, 5), batch = random.integer(1, 3), in = random.integer(1, 9),
                    hidden = random.integer(1, 20), dirs = i % 3 == 2 ? 2 : 1;
      const bool batch_first = i % 2 != 0, gru = gates == 3, lstm = gates == 4;
      const char* directions[] = {"forward", "reverse", "bidirectional"};
      Attrs attrs{{"hidden_size", hidden},
                  {"direction", std::string(directions[i % 3])},
                  {"layout", int64_t{batch_first}}};
      if (gru) attrs.set("linear_before_reset", int64_t{i % 4 < 2});
      if (i % 5 == 1) attrs.set("clip", 0.7f);
      if (i % 6 == 3) {
        std::vector<std::string> f = {"HardSigmoid", "Tanh", "Relu"};
        f.resize(static_cast<size_t>(gates == 1 ? 1 : gates == 3 ? 2 : 3));
        const auto once = f;
        if (dirs == 2) f.insert(f.end(), once.begin(), once.end());
        attrs.set("activations", f);
      }
      if (lstm && i % 7 == 2) attrs.set("input_forget", int64_t{1});
      const Dims states = batch_first ? Dims{batch, dirs, hidden} : Dims{dirs, batch, hidden};
      std::vector<Operand> o = {input(random.f32(batch_first ? Dims{batch, seq, in} : Dims{seq, batch, in})),
                                constant(random.f32({dirs, gates * hidden, in}, -0.5f, 0.5f)),
                                constant(random.f32({dirs, gates * hidden, hidden}, -0.5f, 0.5f))};
      if (i == 5) o[1].constant = o[2].constant = false;
      o.push_back(i % 4 == 3 ? Operand{} : constant(random.f32({dirs, 2 * gates * hidden}, -0.5f, 0.5f)));
      o.push_back({});
      if (i % 3 == 1)
        o.back() = constant(Tensor::of<int32_t>(
            {batch}, std::vector<int32_t>(static_cast<size_t>(batch), static_cast<int32_t>(seq))));
      if (i % 2 == 0) o.push_back(input(random.f32(states)));
      if (lstm && i % 2 == 0) {
        o.push_back(input(random.f32(states)));
        if (i % 4 == 0) o.push_back(constant(random.f32({dirs, 3 * hidden})));
      }
      while (!o.back().tensor.defined()) o.pop_back();
      std::vector<bool> outputs = {i % 5 != 0, true};
      if (lstm) outputs.push_back(i % 3 != 0);
      check_sweep({.op = name, .operands = o, .attrs = attrs, .outputs = outputs, .tolerance = kSum});
    }
    (void)state;
  }
}
