// The passes on real models: ../shared/models (or $SKYLINE_MODELS), skipped with a message when that is not
// there.
#include "graph/passes/passes.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "graph/ir/dump.h"
#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/passes/layout.h"
#include "skyline/model.h"
#include "tests/graph/passes/build.h"

using namespace skyline;
using namespace skyline::test;

namespace {

std::string models_dir() {
  if (const char* dir = std::getenv("SKYLINE_MODELS")) return std::string(dir) + "/models";
  return SKYLINE_SOURCE_DIR "/../shared/models/models";
}

// A graph for one shape of its inputs: what is not known becomes `unknown`, by input.
Graph specialised(const Graph& g, const std::map<std::string, Dims>& dims) {
  Graph out = g;
  for (ValueId v : out.inputs()) {
    Fact& f = out.value(v).fact;
    const auto given = dims.find(out.value(v).name);
    if (given != dims.end()) f = Fact::fixed(f.dtype, given->second);
    for (Dim& d : f.dims) d = d.known() ? d : Dim(1);
  }
  infer_graph(out);
  return out;
}

struct Case {
  const char* name;
  std::map<std::string, Dims> dims;
  bool quick;         // evaluated in every run of the tests
  size_t most_nodes;  // that portable passes may leave
};

const std::vector<Case> kCases = {
    {"kws_dscnn_fp32", {}, true, 14},
    {"resnet8_cifar_fp32", {}, true, 13},
    {"mnist8", {}, true, 6},
    {"oww_hey_jarvis", {}, true, 10},
    {"oww_alexa", {}, true, 4},
    {"oww_embedding", {{"input_1", {1, 76, 32, 1}}}, false, 46},
    {"use_lite", {{"input_ids", {1, 7}}, {"attention_mask", {1, 7}}}, true, 60},
    {"stories260k", {{"input_ids", {1, 5}}}, true, 278},
    {"magika_fast_v2_1", {}, false, 44},
    {"ppocr_cls", {{"x", {1, 3, 48, 192}}}, false, 76},
    {"ppocrv4_rec", {{"x", {1, 3, 48, 64}}}, false, 119},
    {"ppocrv4_det", {{"x", {1, 3, 64, 64}}}, false, 122},
    {"yolox_nano", {}, false, 153},
    {"mobilenetv2_fp32", {}, false, 55},
    {"mobilenetv2_int8_qdq", {}, false, 316},
    {"ultraface_rfb_320", {}, false, 87},
    {"selfie_segmentation", {}, false, 90},
    {"mlsd_320_tiny", {}, false, 61},
    {"basic_pitch", {}, false, 225},
    {"oww_melspectrogram", {{"input", {1, 1760}}}, false, 17},
    {"silero_vad_v5", {{"input", {1, 512}}, {"state", {2, 1, 128}}}, true, 2},
    {"silero_vad_op18_ifless", {{"input", {1, 512}}, {"state", {2, 1, 128}}}, false, 4},
};

std::vector<Value> inputs_for(const Graph& g) {
  Random random(3);
  std::vector<Value> in = random_inputs(g, random);
  for (size_t i = 0; i < in.size(); ++i) {
    const ValueInfo& v = g.value(g.inputs()[i]);
    if (v.name == "sr") in[i] = Tensor::of<int64_t>(v.fact.static_dims(), {16000});
    if (v.name == "attention_mask") {
      Tensor t(DType::i64, v.fact.static_dims());
      for (int64_t& x : t.mutable_span<int64_t>()) x = 1;
      in[i] = t;
    }
    if (v.name == "input_ids") {
      Tensor t(DType::i64, v.fact.static_dims());
      for (int64_t& x : t.mutable_span<int64_t>()) x = random.below(500);
      in[i] = t;
    }
  }
  return in;
}

}  // namespace

TEST_CASE("passes leave what real models compute") {
  if (!std::filesystem::exists(models_dir())) {
    MESSAGE("SKIPPED: no models at " << models_dir() << " (set SKYLINE_MODELS)");
    return;
  }
  const char* verbose = std::getenv("SKYLINE_PASS_LOG");  // "all", or the name of one model
  for (const Case& c : kCases) {
    const bool chosen = verbose && (std::string(verbose) == "all" || std::string(verbose) == c.name);
    if (!c.quick && !chosen) continue;
    if (verbose && !chosen) continue;
    CAPTURE(c.name);
    const Model model = Model::load(models_dir() + "/" + c.name + "/model.onnx");
    const Graph before = specialised(model.graph(), c.dims);
    Graph after = before;
    std::map<std::string, int> fired;
    PassOptions options;
    options.log = [&](std::string_view pass, std::string_view) { ++fired[std::string(pass)]; };
    run_passes(after, portable_passes(), options);
    const size_t portable = after.node_count();
    run_passes(after, target_passes(), options);
    passes::assign_channels_last(after);
    run_passes(after, layout_passes(), options);
    CHECK(portable <= c.most_nodes);
    const std::vector<Value> in = inputs_for(before);
    const std::vector<Value> x = interpret(before, in), y = interpret(after, in);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, difference(x[i], y[i]));
    CHECK(worst <= 1e-3);
    if (!chosen) continue;
    std::printf("%s: %zu -> %zu -> %zu nodes, difference %.2g\n ", c.name, before.node_count(), portable,
                after.node_count(), worst);
    for (const auto& [name, n] : fired) std::printf(" %s:%d", name.c_str(), n);
    std::printf("\n ");
    for (const auto& [name, n] : count_ops(after)) std::printf(" %s:%d", name.c_str(), n);
    std::printf("\n");
    std::fflush(stdout);
    if (std::string(verbose) == c.name) std::fputs(dump_text(after).c_str(), stdout);
  }
}
