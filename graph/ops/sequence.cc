// Sequences and optionals. The fact of a sequence carries the dtype and dims that all of its elements share;
// a filled optional is its content.
#include <algorithm>

#include "graph/ir/infer.h"
#include "graph/ir/interpret.h"
#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

Fact as_sequence(Fact element) {
  element.kind = Fact::Kind::sequence;
  return element;
}

Fact element_of(const Fact& sequence) {
  if (sequence.kind == Fact::Kind::tensor && sequence.dtype != DType::undefined)
    fail("the input is a tensor, expected a sequence");
  Fact f = sequence;
  f.kind = Fact::Kind::tensor;
  return f;
}

// position in [-n, n) (or, with `end`, n too), made nonnegative.
size_t checked_position(const Tensor& t, size_t length, bool end) {
  const int64_t position = one_int(t, "position"), n = static_cast<int64_t>(length);
  if (position < -n || position >= n + (end ? 1 : 0))
    fail("position " + str(position) + " is outside a sequence of " + str(n));
  return static_cast<size_t>(position < 0 ? position + n : position);
}

// ---- making and changing
// -----------------------------------------------------------------------------------------

void infer_construct(InferContext& c) {
  Fact f = c.in(0);
  for (size_t i = 1; i < c.inputs(); ++i) f = join_facts(f, c.in(i));
  c.out(0, as_sequence(std::move(f)));
}

void eval_construct(EvalContext& c) {
  std::vector<Value> items;
  for (size_t i = 0; i < c.inputs(); ++i) {
    require_dtype(c.in(i), c.in(0).dtype(), "an element");
    items.push_back(c.value(i));
  }
  c.out(0, Value::sequence(std::move(items), c.in(0).dtype()));
}

DType empty_dtype(const Attrs& attrs) {
  return static_cast<DType>(attrs.integer("dtype", static_cast<int64_t>(DType::f32)));
}

void infer_empty(InferContext& c) {
  c.out(0, as_sequence(Fact::unranked(empty_dtype(c.attrs()))));
}
void eval_empty(EvalContext& c) {
  c.out(0, Value::sequence({}, empty_dtype(c.attrs())));
}

void infer_insert(InferContext& c) {
  // An empty sequence has no dims to join with, and its fact does not say whether it is empty.
  const Fact element = element_of(c.in(0));
  c.out(0, as_sequence(element.ranked ? join_facts(element, c.in(1)) : Fact::unranked(c.in(1).dtype)));
}

void eval_insert(EvalContext& c) {
  std::vector<Value> items = c.value(0).items();
  const DType t = c.value(0).element_type();
  if (t != DType::undefined) require_dtype(c.in(1), t, "the element");
  const size_t at = c.has(2) ? checked_position(c.in(2), items.size(), true) : items.size();
  items.insert(items.begin() + static_cast<ptrdiff_t>(at), c.value(1));
  c.out(0, Value::sequence(std::move(items), c.in(1).dtype()));
}

void eval_erase(EvalContext& c) {
  std::vector<Value> items = c.value(0).items();
  require(!items.empty(), "cannot erase from an empty sequence");
  const size_t at = c.has(1) ? checked_position(c.in(1), items.size(), false) : items.size() - 1;
  items.erase(items.begin() + static_cast<ptrdiff_t>(at));
  c.out(0, Value::sequence(std::move(items), c.value(0).element_type()));
}

// ---- reading
// -----------------------------------------------------------------------------------------------------

void infer_at(InferContext& c) {
  c.out(0, element_of(c.in(0)));
}

void eval_at(EvalContext& c) {
  const std::vector<Value>& items = c.value(0).items();
  c.out(0, items[checked_position(c.in(1), items.size(), false)]);
}

void infer_length(InferContext& c) {
  c.out(0, Fact(DType::i64, {}));
}
void eval_length(EvalContext& c) {
  c.out(0, Tensor::scalar<int64_t>(static_cast<int64_t>(c.value(0).items().size())));
}

// ---- ConcatFromSequence, SplitToSequence
// -------------------------------------------------------------------------

void infer_concat_from(InferContext& c) {
  Fact f = element_of(c.in(0));
  if (f.ranked) {
    const bool fresh = c.attrs().integer("new_axis", 0) != 0;
    const int axis = normalize_axis(c.attrs().integer("axis"), f.rank() + (fresh ? 1 : 0));
    if (fresh) f.dims.insert(f.dims.begin() + axis, Dim::unknown());
    f.dims[static_cast<size_t>(axis)] = Dim::unknown();
  }
  c.out(0, std::move(f));
}

void eval_concat_from(EvalContext& c) {
  const bool fresh = c.attrs().integer("new_axis", 0) != 0;
  const int64_t axis = c.attrs().integer("axis");
  std::vector<Tensor> parts;
  for (const Value& item : c.value(0).items()) {
    Tensor t = item.tensor();
    if (fresh) {
      Dims dims = t.dims();
      dims.insert(dims.begin() + normalize_axis(axis, t.rank() + 1), 1);
      t = t.reshaped(std::move(dims));
    }
    parts.push_back(std::move(t));
  }
  c.out(0, concat(c, parts, axis));
}

void infer_split_to(InferContext& c) {
  Fact f = c.in(0);
  if (f.ranked) {
    const int axis = normalize_axis(c.attrs().integer("axis", 0), f.rank());
    if (!c.has(1) && c.attrs().integer("keepdims", 1) == 0) {
      f.dims.erase(f.dims.begin() + axis);
    } else {
      f.dims[static_cast<size_t>(axis)] = c.has(1) ? Dim::unknown() : Dim(1);
    }
  }
  c.out(0, as_sequence(std::move(f)));
}

// The lengths of the parts of `total`: ones; equal ones of a scalar `split`, the last one smaller; or as
// listed.
Dims part_lengths(EvalContext& c, int64_t total) {
  if (!c.has(1)) return Dims(static_cast<size_t>(total), 1);
  Dims list = c.ints(1);
  if (c.in(1).rank() == 0) {
    const int64_t each = list.at(0);
    if (each < 1) fail("split is " + str(each));
    list.clear();
    for (int64_t rest = total; rest > 0; rest -= list.back()) list.push_back(std::min(each, rest));
    return list;
  }
  int64_t sum = 0;
  for (int64_t n : list) {
    if (n < 0) fail("split has " + str(n));
    sum = checked_add(sum, n);
  }
  if (sum != total) fail("split sums to " + str(sum) + ", the axis has " + str(total));
  return list;
}

void eval_split_to(EvalContext& c) {
  const Tensor& x = c.in(0);
  const auto axis = static_cast<size_t>(normalize_axis(c.attrs().integer("axis", 0), x.rank()));
  const bool drop = !c.has(1) && c.attrs().integer("keepdims", 1) == 0;
  if (x.dims()[axis] > kMany) throw Error(Code::limit, "splits into " + str(x.dims()[axis]) + " parts");
  std::vector<Value> items;
  int64_t begin = 0;
  for (int64_t n : part_lengths(c, x.dims()[axis])) {
    Tensor part = cut(c, x, axis, begin, n);
    if (drop) {
      Dims dims = part.dims();
      dims.erase(dims.begin() + static_cast<ptrdiff_t>(axis));
      part = part.reshaped(std::move(dims));
    }
    items.push_back(std::move(part));
    begin += n;
  }
  c.out(0, Value::sequence(std::move(items), x.dtype()));
}

// ---- SequenceMap
// -------------------------------------------------------------------------------------------------

// The body's inputs are those of the node, with an element in place of each sequence; the last `captures`
// inputs of the node are what the body uses of the outer graph, and are passed as they are.
size_t mapped_inputs(const Attrs& attrs, size_t inputs) {
  const int64_t captures = attrs.integer("captures", 0);
  if (captures < 0 || captures >= static_cast<int64_t>(inputs)) fail("captures is " + str(captures));
  return inputs - static_cast<size_t>(captures);
}

void infer_map(InferContext& c) {
  const Graph& body = c.attrs().graph("body");
  if (body.inputs().size() != c.inputs() || body.outputs().size() < c.outputs())
    fail("the body does not fit the node's inputs and outputs");
  mapped_inputs(c.attrs(), c.inputs());
  for (size_t i = 0; i < c.outputs(); ++i) c.out(i, as_sequence(body.fact(body.outputs()[i])));
}

void eval_map(EvalContext& c) {
  const Graph& body = c.attrs().graph("body");
  if (body.inputs().size() != c.inputs() || body.outputs().size() < c.outputs())
    fail("the body does not fit the node's inputs and outputs");
  const size_t mapped = mapped_inputs(c.attrs(), c.inputs()), length = c.value(0).items().size();
  for (size_t i = 1; i < mapped; ++i) {
    if (c.value(i).is_sequence() && c.value(i).items().size() != length)
      fail("the sequences differ in length");
  }
  std::vector<std::vector<Value>> results(c.outputs());
  for (size_t k = 0; k < length; ++k) {
    if (c.limits.check) c.limits.check();
    std::vector<Value> in;
    for (size_t i = 0; i < c.inputs(); ++i) {
      in.push_back(i < mapped && c.value(i).is_sequence() ? c.value(i).items()[k] : c.value(i));
    }
    std::vector<Value> out = run_body(body, in, c.limits);
    for (size_t i = 0; i < results.size(); ++i) results[i].push_back(std::move(out[i]));
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const DType t = results[i].empty() ? body.fact(body.outputs()[i]).dtype : results[i][0].element_type();
    c.out(i, Value::sequence(std::move(results[i]), t));
  }
}

// ---- optionals
// ---------------------------------------------------------------------------------------------------

void infer_optional(InferContext& c) {
  Fact f;
  f.kind = Fact::Kind::optional;
  c.out(0, c.has(0) ? c.in(0) : f);
}
void eval_optional(EvalContext& c) {
  c.out(0, c.has(0) ? c.value(0) : Value());
}

void infer_has_element(InferContext& c) {
  c.out(0, Fact(DType::boolean, {}));
}
void eval_has_element(EvalContext& c) {
  c.out(0, Tensor::scalar<bool>(c.has(0)));
}

void eval_get_element(EvalContext& c) {
  require(c.has(0), "the optional is empty");
  c.out(0, c.value(0));
}

constexpr OpDef kOps[] = {
    {.name = "SequenceConstruct",
     .min_inputs = 1,
     .max_inputs = kMany,
     .infer = infer_construct,
     .eval = eval_construct,
     .work = no_flops},
    {.name = "SequenceEmpty",
     .min_inputs = 0,
     .max_inputs = 0,
     .infer = infer_empty,
     .eval = eval_empty,
     .work = no_flops},
    {.name = "SequenceInsert",
     .min_inputs = 2,
     .max_inputs = 3,
     .infer = infer_insert,
     .eval = eval_insert,
     .work = no_flops},
    {.name = "SequenceErase",
     .min_inputs = 1,
     .max_inputs = 2,
     .infer = infer_same_as_first,
     .eval = eval_erase,
     .work = no_flops},
    {.name = "SequenceAt",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_at,
     .eval = eval_at,
     .work = no_flops},
    {.name = "SequenceLength",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_length,
     .eval = eval_length,
     .work = no_flops},
    {.name = "ConcatFromSequence",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_concat_from,
     .eval = eval_concat_from,
     .work = no_flops},
    {.name = "SplitToSequence",
     .min_inputs = 1,
     .max_inputs = 2,
     .infer = infer_split_to,
     .eval = eval_split_to,
     .work = no_flops},
    {.name = "SequenceMap",
     .min_inputs = 1,
     .max_inputs = kMany,
     .max_outputs = kMany,
     .infer = infer_map,
     .eval = eval_map,
     .work = no_flops,
     .flags = kOpControl},
    {.name = "Optional",
     .min_inputs = 0,
     .max_inputs = 1,
     .infer = infer_optional,
     .eval = eval_optional,
     .work = no_flops},
    {.name = "OptionalHasElement",
     .min_inputs = 0,
     .max_inputs = 1,
     .infer = infer_has_element,
     .eval = eval_has_element,
     .work = no_flops},
    {.name = "OptionalGetElement",
     .min_inputs = 1,
     .max_inputs = 1,
     .infer = infer_same_as_first,
     .eval = eval_get_element,
     .work = no_flops},
};

}  // namespace

std::span<const OpDef> sequence_ops() {
  return kOps;
}

}  // namespace skyline::ops
