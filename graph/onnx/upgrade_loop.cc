// Scan of opset 8, which had a batch axis.
#include "graph/ir/infer.h"
#include "graph/ir/op.h"
#include "graph/onnx/upgrade_rows.h"

namespace skyline::onnx {
namespace {

Fact without_first_axis(Fact f) {
  if (f.ranked && !f.dims.empty()) f.dims.erase(f.dims.begin());
  return f;
}

// Every state and scanned input begins with the batch: one outer Scan over the batch, whose body is the Scan
// over the sequence.
void scan_batches(Rewrite& r) {
  if (r.node.in(0) != kNoValue) throw Error(Code::unsupported, "sequence_lens of opset 8");
  const Attrs& a = r.node.attrs;
  const int64_t captures = a.integer("captures", 0);
  const auto total = static_cast<int64_t>(r.node.inputs.size()) - 1 - captures;
  Attrs inner{{"num_scan_inputs", a.integer("num_scan_inputs")}, {"captures", captures}};
  if (a.has("directions")) inner.set("scan_input_directions", a.integers("directions"));
  inner.set("body", *a.find("body"));

  Graph body;
  std::vector<ValueId> inputs, outputs;
  for (size_t i = 1; i < r.node.inputs.size(); ++i) {
    const Fact outer = r.fact(i);
    const bool captured = static_cast<int64_t>(i) > total;
    inputs.push_back(body.add_input("in" + std::to_string(i), captured ? outer : without_first_axis(outer)));
  }
  for (size_t i = 0; i < r.node.wanted.size(); ++i)
    outputs.push_back(body.add_value("out" + std::to_string(i)));
  const OpDef* scan = find_op("", "Scan");
  if (!scan) throw Error(Code::unsupported, "no Scan");
  infer_node(body, body.add_node(*scan, "sequence", inputs, outputs, inner));
  for (size_t i = 0; i < outputs.size(); ++i) body.add_output(outputs[i], body.value(outputs[i]).name);

  r.node.attrs = {{"num_scan_inputs", total}, {"captures", captures}};
  r.node.attrs.set("body", std::make_shared<const Graph>(std::move(body)));
  r.node.inputs.erase(r.node.inputs.begin());
}

constexpr UpgradeRow kRows[] = {
    {"Scan", 8, scan_batches},
};

}  // namespace

std::span<const UpgradeRow> loop_upgrades() {
  return kRows;
}

}  // namespace skyline::onnx
