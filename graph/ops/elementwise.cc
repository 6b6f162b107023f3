#include "graph/ops/elementwise.h"

namespace skyline::ops {

void require_same_dtype(const EvalContext& c, size_t i, size_t j) {
  const DType a = c.in(i).dtype(), b = c.in(j).dtype();
  if (a != b) {
    throw Error(Code::invalid, "inputs " + std::to_string(i) + " and " + std::to_string(j) + " have dtypes " +
                                   std::string(name(a)) + " and " + std::string(name(b)) + "; one is needed");
  }
}

void infer_float_unary(InferContext& c) {
  const DType t = c.in(0).dtype;
  if (t != DType::undefined && !is_float(t)) {
    throw Error(Code::invalid, "takes a float tensor, given " + std::string(name(t)));
  }
  c.out(0, c.in(0));
}

void infer_broadcast_same(InferContext& c) {
  const DType first = c.in(0).dtype;
  for (size_t i = 1; i < c.inputs(); ++i) {
    if (!c.has(i)) continue;
    const DType t = c.in(i).dtype;
    if (t != first && t != DType::undefined && first != DType::undefined) {
      throw Error(Code::invalid, "inputs have dtypes " + std::string(name(first)) + " and " +
                                     std::string(name(t)) + "; one is needed");
    }
  }
  infer_broadcast(c);
}

void infer_compare(InferContext& c) {
  infer_broadcast_same(c);
  if (c.outputs() > 0) c.facts()[0].dtype = DType::boolean;
}

}  // namespace skyline::ops
