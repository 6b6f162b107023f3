#include "graph/ops/fused_elementwise.h"

#include "graph/ir/interpret.h"
#include "graph/ops/families.h"
#include "graph/ops/numeric.h"

namespace skyline::ops {
namespace {

constexpr FusibleOp kFusible[] = {
    {"Neg", 1, "", "", 0, 0},
    {"Abs", 1, "", "", 0, 0},
    {"Sqrt", 1, "", "", 0, 0},
    {"Reciprocal", 1, "", "", 0, 0},
    {"Floor", 1, "", "", 0, 0},
    {"Ceil", 1, "", "", 0, 0},
    {"Relu", 1, "", "", 0, 0},
    {"LeakyRelu", 1, "alpha", "", 0.01f, 0},
    {"Elu", 1, "alpha", "", 1, 0},
    {"Exp", 1, "", "", 0, 0},
    {"Log", 1, "", "", 0, 0},
    {"Sigmoid", 1, "", "", 0, 0},
    {"Tanh", 1, "", "", 0, 0},
    {"Erf", 1, "", "", 0, 0},
    {"HardSigmoid", 1, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", 1, "", "", 0, 0},
    {"Swish", 1, "alpha", "", 1, 0},
    {"Softplus", 1, "", "", 0, 0},
    {"Clip", 1, "", "", 0, 0},
    {"Add", 2, "", "", 0, 0},
    {"Sub", 2, "", "", 0, 0},
    {"Mul", 2, "", "", 0, 0},
    {"Div", 2, "", "", 0, 0},
    {"Min", 2, "", "", 0, 0},
    {"Max", 2, "", "", 0, 0},
    {"Pow", 2, "", "", 0, 0},
};

void infer_fused(InferContext& c) {
  parse_steps(c.attrs(), c.inputs());
  for (size_t i = 0; i < c.inputs(); ++i) {
    const DType t = c.in(i).dtype;
    if (t != DType::f32 && t != DType::undefined) reject("FusedElementwise takes f32 only");
  }
  infer_broadcast(c);
}

// Each step through the operator that it stands for.
void eval_fused(EvalContext& c) {
  const std::vector<ElementwiseStep> steps = parse_steps(c.attrs(), c.inputs());
  std::vector<Value> values;
  for (size_t i = 0; i < c.inputs(); ++i) values.push_back(c.value(i));
  for (const ElementwiseStep& s : steps) {
    const FusibleOp& row = *find_fusible(s.op);
    Node n;
    n.op = &op(s.op);
    n.name = c.node.name;
    std::vector<Value> in = {values[static_cast<size_t>(s.a)]};
    if (row.inputs == 2) in.push_back(values[static_cast<size_t>(s.b)]);
    if (s.op == "Clip") in.insert(in.end(), {Tensor::scalar(s.alpha), Tensor::scalar(s.beta)});
    if (!row.alpha.empty()) n.attrs.set(std::string(row.alpha), s.alpha);
    if (!row.beta.empty()) n.attrs.set(std::string(row.beta), s.beta);
    for (uint32_t i = 0; i < in.size(); ++i) n.inputs.push_back(ValueId{i});
    n.outputs = {ValueId{static_cast<uint32_t>(in.size())}};
    values.push_back(evaluate_node(n, in, c.limits)[0]);
  }
  c.out(0, values.back());
}

Work work_fused(const Node& n, std::span<const Fact>, std::span<const Fact> out) {
  return {.flops = out[0].elements() * static_cast<int64_t>(n.attrs.integers("args").size() / 2)};
}

constexpr OpDef kOps[] = {
    {.name = "FusedElementwise",
     .domain = "skyline",
     .min_inputs = 1,
     .max_inputs = kMaxFusedInputs,
     .infer = infer_fused,
     .eval = eval_fused,
     .work = work_fused,
     .flags = kOpElementwise},
};

}  // namespace

const FusibleOp* find_fusible(std::string_view name) {
  for (const FusibleOp& f : kFusible) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

std::vector<ElementwiseStep> parse_steps(const Attrs& attrs, size_t inputs) {
  const std::vector<std::string> names = attrs.texts("ops", {});
  const Dims args = attrs.integers("args", {});
  const std::vector<float> params = attrs.reals("params", {});
  const size_t n = names.size();
  if (n == 0 || n > kMaxFusedSteps || args.size() != 2 * n || params.size() != 2 * n)
    reject("attributes ops, args and params do not describe 1 to " + std::to_string(kMaxFusedSteps) +
           " steps");
  std::vector<ElementwiseStep> steps;
  for (size_t i = 0; i < n; ++i) {
    const FusibleOp* row = find_fusible(names[i]);
    if (!row) reject("operator '" + names[i] + "' cannot be a step");
    const int64_t values = static_cast<int64_t>(inputs + i), a = args[2 * i], b = args[2 * i + 1];
    if (a < 0 || a >= values || (row->inputs == 2 ? b < 0 || b >= values : b != -1))
      reject("step " + std::to_string(i) + " reads values " + std::to_string(a) + " and " +
             std::to_string(b) + " of " + std::to_string(values));
    steps.push_back({names[i], static_cast<int>(a), static_cast<int>(b), params[2 * i], params[2 * i + 1]});
  }
  return steps;
}

Attrs steps_to_attrs(const std::vector<ElementwiseStep>& steps) {
  std::vector<std::string> names;
  Dims args;
  std::vector<float> params;
  for (const ElementwiseStep& s : steps) {
    names.push_back(s.op);
    args.insert(args.end(), {s.a, s.b});
    params.insert(params.end(), {s.alpha, s.beta});
  }
  return {{"ops", std::move(names)}, {"args", std::move(args)}, {"params", std::move(params)}};
}

std::span<const OpDef> fused_elementwise_ops() {
  return kOps;
}

}  // namespace skyline::ops
