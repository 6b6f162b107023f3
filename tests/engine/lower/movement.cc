// Operators that move or select elements, and reductions, pools, resizes and normalisations.
#include "tests/engine/lower/sweep.h"

using namespace skyline;
using namespace skyline::test;

namespace {

Operand list(const std::vector<int64_t>& v) {
  return constant(Tensor::vector(v));
}

}  // namespace

TEST_CASE("transpose, concat, split, slice") {
  Random random(21);
  for (const Dims& perm :
       {Dims{0, 2, 3, 1}, Dims{3, 2, 1, 0}, Dims{0, 1, 3, 2}, Dims{1, 0, 2, 3}, Dims{0, 1, 2, 3}}) {
    check_sweep(
        {.op = "Transpose", .operands = {input(random.f32({2, 5, 7, 3}))}, .attrs = {{"perm", perm}}});
    check_sweep(
        {.op = "Transpose", .operands = {input(random.f32({1, 5, 1, 3}))}, .attrs = {{"perm", perm}}});
    check_sweep({.op = "Transpose",
                 .operands = {input(random.ints<int64_t>({2, 17, 33, 1}, 0, 99))},
                 .attrs = {{"perm", perm}}});
    check_sweep(
        {.op = "Transpose", .operands = {input(random.f32({2, 0, 7, 3}))}, .attrs = {{"perm", perm}}});
  }
  check_sweep({.op = "Transpose", .operands = {input(random.f32({}))}});
  for (int64_t axis : {0, 1, -1}) {
    Dims a = {3, 4, 5}, b = a;
    b[axis < 0 ? 2 : static_cast<size_t>(axis)] = 2;
    check_sweep({.op = "Concat",
                 .operands = {input(random.f32(a)), input(random.f32(b)), constant(random.f32(a))},
                 .attrs = {{"axis", axis}}});
    b[axis < 0 ? 2 : static_cast<size_t>(axis)] = 0;
    check_sweep({.op = "Concat",
                 .operands = {input(random.f32(a)), input(random.f32(b))},
                 .attrs = {{"axis", axis}}});
    check_sweep({.op = "Split",
                 .operands = {input(random.f32({6, 6, 6})), list({1, 0, 5})},
                 .attrs = {{"axis", axis}},
                 .outputs = {true, true, true}});
  }
  check_sweep({.op = "Slice",
               .operands = {input(random.f32({7, 9, 11})), list({1, -2}), list({6, -9}), list({0, 2}),
                            list({2, -3})}});
  check_sweep({.op = "Slice", .operands = {input(random.f32({7, 9})), list({0, 3}), list({100, INT64_MAX})}});
  check_sweep({.op = "Slice",
               .operands = {input(random.f32({7})), list({100}), list({INT64_MIN}), list({0}), list({-1})}});
  check_sweep(
      {.op = "Slice", .operands = {input(random.f32({7, 9})), list({5}), list({2})}, .kernels = false});
}

TEST_CASE("expand, tile, pad, depth to space") {
  Random random(22);
  check_sweep({.op = "Expand", .operands = {input(random.f32({3, 1, 5})), list({2, 3, 4, 5})}});
  check_sweep({.op = "Expand", .operands = {input(random.f32({})), list({2, 3})}});
  check_sweep({.op = "Expand", .operands = {input(random.f32({3, 1})), list({3, 0})}});
  check_sweep({.op = "Tile", .operands = {input(random.f32({3, 2, 5})), list({2, 1, 3})}});
  check_sweep({.op = "Tile", .operands = {input(random.f32({3})), list({0})}, .kernels = false});
  for (const char* mode : {"constant", "edge", "reflect", "wrap"}) {
    check_sweep({.op = "Pad",
                 .operands = {input(random.f32({2, 5, 6})), list({0, 1, 2, 0, 3, 1})},
                 .attrs = {{"mode", std::string(mode)}}});
    check_sweep({.op = "Pad",
                 .operands = {input(random.f32({2, 5, 6})), list({-1, 2}), {}, list({2})},
                 .attrs = {{"mode", std::string(mode)}}});
  }
  check_sweep(
      {.op = "Pad", .operands = {input(random.f32({4})), list({-1, -1}), constant(Tensor::scalar(3.0f))}});
  for (const char* mode : {"DCR", "CRD"}) {
    check_sweep({.op = "DepthToSpace",
                 .operands = {input(random.f32({2, 12, 3, 5}))},
                 .attrs = {{"blocksize", int64_t{2}}, {"mode", std::string(mode)}}});
  }
  check_sweep({.op = "SpaceToDepth",
               .operands = {input(random.f32({2, 3, 4, 6}))},
               .attrs = {{"blocksize", int64_t{2}}}});
}

TEST_CASE("gathers and scatters") {
  Random random(23);
  for (int64_t axis : {0, 1, 2}) {
    const Dims x = {4, 5, 6};
    const int64_t n = x[static_cast<size_t>(axis)];
    check_sweep({.op = "Gather",
                 .operands = {input(random.f32(x)), input(random.ints<int64_t>({2, 3}, -n, n - 1))},
                 .attrs = {{"axis", axis}}});
    check_sweep({.op = "Gather",
                 .operands = {input(random.f32(x)), input(random.ints<int32_t>({}, -n, n - 1))},
                 .attrs = {{"axis", axis}}});
    Dims index = {3, 2, 5};
    index[static_cast<size_t>(axis)] = 7;
    check_sweep({.op = "GatherElements",
                 .operands = {input(random.f32(x)), input(random.ints<int64_t>(index, -n, n - 1))},
                 .attrs = {{"axis", axis}}});
    Dims one = {1, 1, 1};  // one index per line: no order of writes to depend on
    check_sweep({.op = "ScatterElements",
                 .operands = {input(random.f32(x)), input(random.ints<int32_t>(one, -n, n - 1)),
                              input(random.f32(one))},
                 .attrs = {{"axis", axis}}});
  }
  check_sweep({.op = "GatherND",
               .operands = {input(random.f32({3, 4, 5})), input(random.ints<int64_t>({2, 6, 2}, -3, 2))}});
  check_sweep({.op = "GatherND",
               .operands = {input(random.f32({2, 4, 5})), input(random.ints<int64_t>({2, 6, 1}, 0, 3))},
               .attrs = {{"batch_dims", int64_t{1}}}});
  check_sweep({.op = "ScatterND",
               .operands = {input(random.f32({5, 4, 3})), constant(Tensor::of<int64_t>({3, 1}, {4, 0, -2})),
                            input(random.f32({3, 4, 3}))}});
  for (const char* reduction : {"add", "mul", "max", "min"}) {  // with one index twice
    const Operand at = constant(Tensor::of<int64_t>({3, 1}, {4, 0, -1}));
    const Attrs attrs{{"reduction", reduction}};
    check_sweep({.op = "ScatterND",
                 .operands = {input(random.f32({5, 4, 3})), at, input(random.f32({3, 4, 3}))},
                 .attrs = attrs});
    check_sweep({.op = "ScatterND",
                 .operands = {input(random.ints<int64_t>({5, 4}, -9, 9)), at,
                              input(random.ints<int64_t>({3, 4}, -9, 9))},
                 .attrs = attrs});
    check_sweep({.op = "ScatterElements",
                 .operands = {input(random.ints<int32_t>({5, 4}, -9, 9)),
                              constant(Tensor::of<int64_t>({3, 1}, {4, 0, -1})),
                              input(random.ints<int32_t>({3, 1}, -9, 9))},
                 .attrs = attrs});
  }
  check_sweep({.op = "OneHot",
               .operands = {input(random.ints<int64_t>({2, 3}, -6, 6)), constant(Tensor::scalar<int64_t>(5)),
                            constant(Tensor::of<float>({2}, {-1, 2}))},
               .attrs = {{"axis", int64_t{1}}}});
  for (int64_t k : {-9, -1, 0, 2, 9}) {
    for (int64_t upper : {0, 1}) {
      check_sweep({.op = "Trilu",
                   .operands = {input(random.f32({2, 4, 6})), constant(Tensor::scalar<int64_t>(k))},
                   .attrs = {{"upper", upper}}});
    }
  }
  for (int64_t flags = 0; flags < 4; ++flags) {
    check_sweep({.op = "CumSum",
                 .operands = {input(random.f32({3, 7, 2})), constant(Tensor::scalar<int64_t>(1))},
                 .attrs = {{"exclusive", flags & 1}, {"reverse", flags >> 1}}});
  }
}

TEST_CASE("the largest and the smallest") {
  Random random(31);
  for (const int64_t axis : {0, 1, -1}) {
    for (const int64_t largest : {0, 1}) {
      for (const int64_t k : {1, 3}) {
        Tensor x = random.f32({4, 5, 6});
        for (float& v : x.mutable_span<float>()) v = std::round(v);  // ties
        x.mutable_span<float>()[7] = NAN;
        check_sweep({.op = "TopK",
                     .operands = {input(x), constant(Tensor::vector({k}))},
                     .attrs = {{"axis", axis}, {"largest", largest}},
                     .outputs = {true, true}});
      }
    }
  }
}

TEST_CASE("an index out of range ends the run with an error that names the node") {
  const Tensor x = Tensor::of<float>({3}, {1, 2, 3});
  for (const char* name : {"Gather", "GatherElements"}) {
    for (int64_t bad : {int64_t{3}, int64_t{-4}, INT64_MAX, INT64_MIN}) {
      std::vector<Value> inputs;
      const Model model =
          sweep_model({.op = name, .operands = {input(x), input(Tensor::vector({0, bad, 1}))}}, inputs);
      const Session session(model, {.threads = 1});
      try {
        (void)session.run(inputs);
        FAIL("no error");
      } catch (const Error& e) {
        CHECK(e.code() == Code::input);
        CHECK(std::string(e.what()).find("tested") != std::string::npos);
      }
    }
  }
}

TEST_CASE("reductions") {
  Random random(24);
  for (const char* name : {"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd",
                           "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp"}) {
    for (const Dims& axes :
         {Dims{0}, Dims{1}, Dims{3}, Dims{2, 3}, Dims{0, 2}, Dims{-1, 0}, Dims{0, 1, 2, 3}}) {
      for (int64_t keep : {0, 1}) {
        check_sweep({.op = name,
                     .operands = {input(random.f32({3, 5, 4, 19}, 0.5f, 1.5f)), list(axes)},
                     .attrs = {{"keepdims", keep}},
                     .tolerance = 1e-5f});
      }
    }
    check_sweep({.op = name, .operands = {input(random.f32({65}, 0.9f, 1.1f))}, .tolerance = 1e-5f});
    check_sweep({.op = name, .operands = {input(random.f32({}, 0.9f, 1.1f))}, .tolerance = 1e-5f});
    check_sweep({.op = name, .operands = {input(random.f32({2, 0})), list({0})}, .kernels = false});
  }
  check_sweep({.op = "ReduceMax", .operands = {input(random.ints<int64_t>({3, 9}, -50, 50)), list({1})}});
  check_sweep({.op = "ReduceSum", .operands = {input(random.ints<int32_t>({3, 9}, -50, 50)), list({0})}});
  for (int64_t axis : {0, 1, -1}) {
    for (int64_t last : {0, 1}) {
      const Attrs attrs{{"axis", axis}, {"select_last_index", last}, {"keepdims", int64_t{0}}};
      check_sweep({.op = "ArgMax", .operands = {input(random.f32({4, 17, 5}))}, .attrs = attrs});
      check_sweep({.op = "ArgMin", .operands = {input(random.f32({4, 17, 5}))}, .attrs = attrs});
    }
    check_sweep(
        {.op = "Softmax", .operands = {input(random.f32({4, 17, 35}, -9, 9))}, .attrs = {{"axis", axis}}});
    check_sweep(
        {.op = "LogSoftmax", .operands = {input(random.f32({4, 17, 3}, -9, 9))}, .attrs = {{"axis", axis}}});
  }
}

TEST_CASE("pools") {
  Random random(25);
  for (int i = 0; i < 18; ++i) {
    const int rank = i % 3 + 1;
    const auto r = static_cast<size_t>(rank);
    const bool last = i % 2 != 0;
    Dims x = {2};
    if (!last) x.push_back(random.integer(1, 20));
    for (int a = 0; a < rank; ++a) x.push_back(random.integer(5, 11));
    if (last) x.push_back(random.integer(1, 20));
    const Attrs window{
        {"kernel_shape", Dims(r, random.integer(1, 3))}, {"strides", Dims(r, random.integer(1, 3))},
        {"pads", Dims(2 * r, i % 4 == 0 ? 0 : 0)},       {"ceil_mode", int64_t{i % 5 == 1}},
        {"count_include_pad", int64_t{i % 4 == 2}},      {"layout", std::string(last ? "NHWC" : "NCHW")}};
    for (const char* name : {"MaxPool", "AveragePool"})
      check_sweep({.op = name, .operands = {input(random.f32(x))}, .attrs = window, .domain = "skyline"});
    for (const char* name : {"GlobalMaxPool", "GlobalAveragePool"}) {
      check_sweep({.op = name,
                   .operands = {input(random.f32(x))},
                   .attrs = {{"layout", std::string(last ? "NHWC" : "NCHW")}},
                   .domain = "skyline"});
    }
  }
  const Attrs padded{{"kernel_shape", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"pads", Dims{1, 0, 1, 1}}};
  for (int64_t include : {0, 1}) {
    Attrs a = padded;
    a.set("count_include_pad", include).set("ceil_mode", include);
    check_sweep({.op = "AveragePool", .operands = {input(random.f32({1, 5, 8, 9}))}, .attrs = a});
    check_sweep({.op = "MaxPool", .operands = {input(random.f32({1, 5, 8, 9}))}, .attrs = padded});
    Attrs indices = padded;
    indices.set("storage_order", include);
    check_sweep({.op = "MaxPool",
                 .operands = {input(random.f32({1, 5, 8, 9}))},
                 .attrs = indices,
                 .outputs = {true, true}});
  }
  check_sweep(
      {.op = "MaxPool", .operands = {input(random.ints<uint8_t>({1, 5, 8, 9}, 0, 255))}, .attrs = padded});
  check_sweep(
      {.op = "MaxPool",
       .operands = {input(random.f32({1, 2, 12}))},
       .attrs = {
           {"kernel_shape", Dims{3}}, {"dilations", Dims{2}}, {"auto_pad", std::string("SAME_UPPER")}}});
}

TEST_CASE("resize") {
  Random random(26);
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* coordinates :
         {"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"}) {
      const Attrs attrs{{"mode", std::string(mode)},
                        {"coordinate_transformation_mode", std::string(coordinates)}};
      for (const auto& scales : {std::vector<float>{1, 1, 2, 2}, {1, 1, 0.6f, 1.7f}, {1, 1, 1, 3}}) {
        check_sweep(
            {.op = "Resize",
             .operands = {input(random.f32({1, 3, 5, 7})), {}, constant(Tensor::of<float>({4}, scales))},
             .attrs = attrs});
      }
      check_sweep({.op = "Resize",
                   .operands = {input(random.f32({2, 4, 5, 6})), {}, {}, list({2, 8, 10, 6})},
                   .attrs = attrs});
      check_sweep({.op = "Resize",
                   .operands = {input(random.f32({2, 4, 5, 6})), {}, {}, list({2, 4, 5, 6})},
                   .attrs = attrs,
                   .kernels = false});
    }
  }
  for (const char* nearest : {"floor", "ceil", "round_prefer_ceil"}) {
    check_sweep({.op = "Resize",
                 .operands = {input(random.f32({1, 2, 9})), {}, {}, list({1, 2, 4})},
                 .attrs = {{"nearest_mode", std::string(nearest)}}});
  }
}

TEST_CASE("normalisations") {
  Random random(27);
  for (int64_t axis : {1, 2, -1}) {
    const Dims x = {3, 5, 19};
    const Dims scale(x.begin() + (axis < 0 ? 2 : axis), x.end());
    check_sweep({.op = "LayerNormalization",
                 .operands = {input(random.f32(x)), constant(random.f32(scale)), constant(random.f32(scale))},
                 .attrs = {{"axis", axis}},
                 .outputs = {true, true, true},
                 .tolerance = 1e-5f});
    check_sweep({.op = "RMSNormalization",
                 .operands = {input(random.f32(x)), constant(random.f32(scale))},
                 .attrs = {{"axis", axis}},
                 .tolerance = 1e-5f});
  }
  // As many scales as a row has elements, but broadcast along another axis.
  check_sweep({.op = "LayerNormalization",
               .operands = {input(random.f32({2, 4, 4})), constant(random.f32({4, 1}))},
               .tolerance = 1e-5f,
               .kernels = false});
  for (int64_t groups : {1, 2, 6}) {
    check_sweep(
        {.op = "GroupNormalization",
         .operands = {input(random.f32({2, 6, 5, 3})), constant(random.f32({6})), constant(random.f32({6}))},
         .attrs = {{"num_groups", groups}},
         .tolerance = 1e-5f});
  }
  check_sweep(
      {.op = "InstanceNormalization",
       .operands = {input(random.f32({2, 3, 17})), constant(random.f32({3})), constant(random.f32({3}))},
       .tolerance = 1e-5f});
  for (bool fixed : {true, false}) {
    const auto vector = [&](float low, float high) { return Operand{random.f32({5}, low, high), fixed}; };
    check_sweep({.op = "BatchNormalization",
                 .operands = {input(random.f32({2, 5, 3, 7})), vector(-2, 2), vector(-2, 2), vector(-2, 2),
                              constant(random.f32({5}, 0.1f, 2))},
                 .tolerance = 1e-5f});
  }
}

TEST_CASE("local response normalization in both layouts") {
  Random random(31);
  for (int64_t size : {1, 2, 5, 64}) {
    for (float beta : {0.5f, 0.75f, 1.0f, 0.6f}) {
      const Attrs attrs{{"size", size}, {"alpha", 0.3f}, {"beta", beta}, {"bias", 1.5f}};
      Attrs last = attrs;
      last.set("layout", std::string("NHWC"));
      check_sweep(
          {.op = "LRN", .operands = {input(random.f32({2, 19, 3, 7}))}, .attrs = attrs, .tolerance = 4e-6f});
      check_sweep({.op = "LRN",
                   .operands = {input(random.f32({2, 3, 3, 37}))},
                   .attrs = last,
                   .domain = "skyline",
                   .tolerance = 4e-6f});
    }
  }
  check_sweep({.op = "LRN",
               .operands = {input(random.f32({1, 2, 2, 1100}))},
               .attrs = {{"size", int64_t{5}}, {"layout", std::string("NHWC")}},
               .domain = "skyline",
               .tolerance = 4e-6f});
  check_sweep({.op = "LRN",
               .operands = {input(random.f32({1, 80, 2}))},
               .attrs = {{"size", int64_t{65}}},
               .kernels = false});
}
