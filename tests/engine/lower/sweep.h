#pragma once
// Runs one operator through a session with kernels, on every ISA level of this machine and on several thread
// counts, and compares with the reference evaluation.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "graph/ir/op.h"
#include "skyline/isa.h"
#include "skyline/session.h"

namespace skyline::test {

// Random tensors; every test has its own seed, so that it fails the same way each time.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int64_t integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine_);
  }
  bool coin() { return integer(0, 1) != 0; }
  Tensor f32(Dims dims, float low = -2, float high = 2) {
    Tensor t(DType::f32, std::move(dims));
    std::uniform_real_distribution<float> d(low, high);
    for (float& v : t.mutable_span<float>()) v = d(engine_);
    return t;
  }
  template <class T>
  Tensor ints(Dims dims, int64_t low, int64_t high) {
    Tensor t(kDTypeOf<T>, std::move(dims));
    for (T& v : t.mutable_span<T>()) v = static_cast<T>(integer(low, high));
    return t;
  }
  Dims dims(int rank, int64_t most) {
    Dims d;
    for (int i = 0; i < rank; ++i) d.push_back(integer(1, most));
    return d;
  }

 private:
  std::mt19937 engine_;
};

struct Operand {
  Tensor tensor;          // undefined: omitted
  bool constant = false;  // an initializer rather than an input
};
inline Operand input(Tensor t) {
  return {std::move(t), false};
}
inline Operand constant(Tensor t) {
  return {std::move(t), true};
}

struct Sweep {
  std::string_view op;
  std::vector<Operand> operands;
  Attrs attrs = {};
  std::string_view domain = "";
  std::vector<bool> outputs = {true};  // which are wanted
  float tolerance = 2e-6f;             // of the largest magnitude in the reference; integers are always exact
  bool kernels = true;                 // the node must not fall back to its reference evaluation
};

// The operator with its f32 inputs in the arena, behind a Neg each, so that memory is reused where a kernel
// says that it may be.
inline Model sweep_model(const Sweep& s, std::vector<Value>& inputs) {
  Graph g;
  std::vector<ValueId> in, out;
  for (size_t i = 0; i < s.operands.size(); ++i) {
    const Operand& o = s.operands[i];
    if (!o.tensor.defined()) {
      in.push_back(kNoValue);
    } else if (o.constant) {
      in.push_back(g.add_constant("c" + std::to_string(i), o.tensor));
    } else {
      const ValueId v = g.add_input("x" + std::to_string(i), Fact::of(o.tensor));
      inputs.push_back(o.tensor);
      if (o.tensor.dtype() != DType::f32) {
        in.push_back(v);
        continue;
      }
      const ValueId inside = g.add_value("in" + std::to_string(i));
      g.add_node(op("Neg"), "before" + std::to_string(i), {v}, {inside});
      in.push_back(inside);
    }
  }
  for (size_t i = 0; i < s.outputs.size(); ++i)
    out.push_back(s.outputs[i] ? g.add_value("y" + std::to_string(i)) : kNoValue);
  g.add_node(op(s.op, s.domain), "tested", in, out, s.attrs);
  for (size_t i = 0; i < out.size(); ++i) {
    if (s.outputs[i]) g.add_output(out[i], "y" + std::to_string(i));
  }
  return Model(std::move(g));
}

inline void check_close(const Tensor& got, const Tensor& want, float tolerance) {
  REQUIRE(got.dtype() == want.dtype());
  REQUIRE(got.dims() == want.dims());
  if (want.dtype() != DType::f32) {
    CHECK(std::memcmp(got.raw(), want.raw(), static_cast<size_t>(want.bytes())) == 0);
    return;
  }
  const auto a = got.span<float>(), b = want.span<float>();
  float scale = 0.01f, worst = 0;
  for (float v : b) {
    if (std::isfinite(v)) scale = std::max(scale, std::fabs(v));
  }
  bool special = true;  // NaN and infinity in the same places
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(b[i])) {
      worst = std::max(worst, std::isfinite(a[i]) ? std::fabs(a[i] - b[i]) : INFINITY);
    } else {
      special = special && (std::isnan(b[i]) ? std::isnan(a[i]) : a[i] == b[i]);
    }
  }
  CHECK(special);
  CHECK(worst <= tolerance * scale);
}

inline const std::vector<std::string>& isa_levels() {
  static const std::vector<std::string> levels = [] {
    std::vector<std::string> out;
    for (const char* level : {"sse2", "avx2", "avx512", "avx512_vnni", "amx", "neon", "neon_dotprod"}) {
      try {
        (void)isa_level(level);
        out.emplace_back(level);
      } catch (const Error&) {  // this machine lacks it
      }
    }
    return out;
  }();
  return levels;
}

inline void check_sweep(const Sweep& s) {
  std::vector<Value> inputs;
  const Model model = sweep_model(s, inputs);
  std::string what(s.op);
  for (const Operand& o : s.operands)
    what +=
        o.tensor.defined() ? " " + std::string(name(o.tensor.dtype())) + to_string(o.tensor.dims()) : " -";
  CAPTURE(what);
  SessionOptions options;
  options.threads = 1;
  options.optimize = false;
  const std::vector<Value> want = Session(model, options).run(inputs);
  options.optimize = true;
  options.stop_after_pass = 0;  // the node itself, not what passes make of it
  for (const std::string& level : isa_levels()) {
    CAPTURE(level);
    options.isa = level;
    options.threads = 1;
    const Session session(model, options);
    Profile profile;
    const std::vector<Value> one = session.run_profiled(inputs, profile);
    for (const StepRecord& r : profile) {
      if (r.node == "tested" && s.kernels) CHECK(r.kernel != "reference");
    }
    for (size_t i = 0; i < want.size(); ++i) check_close(one[i].tensor(), want[i].tensor(), s.tolerance);
    for (int threads : {2, 3, 8}) {
      CAPTURE(threads);
      options.threads = threads;
      const std::vector<Value> many = Session(model, options).run(inputs);
      for (size_t i = 0; i < one.size(); ++i) {
        const Tensor &a = one[i].tensor(), &b = many[i].tensor();
        CHECK(std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0);
      }
    }
  }
}

}  // namespace skyline::test
