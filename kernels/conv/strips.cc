#include "kernels/conv/strips.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "kernels/base/memory.h"
#include "kernels/base/parallel.h"

namespace skyline::kernels {
namespace {

struct Rows {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};

int64_t reach_of(const ConvProblem& p) {
  return (p.kernel[1] - 1) * p.dilation[1] + 1;
}

// The rows that output rows `out` read, those of the padding included.
Rows window_rows(const ConvProblem& p, Rows out) {
  return {out.begin * p.stride[1] - p.pad_begin[1],
          (out.end - 1) * p.stride[1] - p.pad_begin[1] + reach_of(p)};
}

// Without those of the padding.
Rows input_rows(const ConvProblem& p, Rows out) {
  const Rows window = window_rows(p, out);
  return {std::max<int64_t>(window.begin, 0), std::min(window.end, p.in[1])};
}

// The convolution of those rows as a problem of its own.
ConvProblem part_of(const ConvProblem& whole, Rows out) {
  ConvProblem p = whole;
  const Rows window = window_rows(whole, out), in = input_rows(whole, out);
  p.n = 1;
  p.in[1] = in.count();
  p.pad_begin[1] = in.begin - window.begin;
  p.pad_end[1] = window.end - in.end;
  return p;
}

bool fits(std::span<const StripStage> stages) {
  for (size_t i = 0; i < stages.size(); ++i) {
    const ConvProblem& p = stages[i].problem;
    if (p.transposed || (p.planar && i > 0) || p.a != DType::f32 || p.c != DType::f32) return false;
    if (p.in[0] != 1 || p.kernel[0] != 1 || p.pad_begin[0] != 0 || p.pad_end[0] != 0) return false;
    // Every output row must see an input row, and cropping is not for strips.
    if (p.pad_begin[1] < 0 || p.pad_end[1] < 0 || p.pad_begin[1] >= reach_of(p) ||
        p.pad_end[1] >= reach_of(p))
      return false;
    if (p.n < 1 || p.out(1) < 1 || p.out(2) < 1 || p.in[1] < reach_of(p)) return false;
    if (i == 0) continue;
    const ConvProblem& before = stages[i - 1].problem;
    if (before.n != p.n || before.oc != p.ic || before.out(1) != p.in[1] || before.out(2) != p.in[2])
      return false;
  }
  return !stages.empty();
}

int64_t row_floats(const ConvProblem& p) {
  return p.out(2) * p.oc;
}

class Planner {
 public:
  Planner(std::span<const StripStage> stages, IsaSet isa, int64_t rows) : isa_(isa) {
    plan_.stages.assign(stages.begin(), stages.end());
    plan_.rows = rows;
    plan_.first_plan.assign(stages.size(), -1);
    plan_.buffer_rows.assign(stages.size() - 1, 0);
  }

  // Rows [begin, end) of the last result, from empty buffers.
  void add_part(int64_t begin, int64_t end) {
    plan_.parts.emplace_back();
    held_.assign(plan_.stages.size(), Rows{});
    for (int64_t row = begin; row < end; row += plan_.rows) add_strip({row, std::min(end, row + plan_.rows)});
  }

  StripPlan finish() {
    for (size_t i = 0; i < plan_.buffer_rows.size(); ++i) {
      plan_.buffer_at.push_back(plan_.buffer_bytes);
      plan_.buffer_bytes +=
          align_up(static_cast<size_t>(plan_.buffer_rows[i] * row_floats(plan_.stages[i].problem) * 4));
    }
    for (const ConvPlan& p : plan_.plans)
      plan_.scratch_bytes = std::max(plan_.scratch_bytes, align_up(conv_workspace_bytes(p, 1)));
    return std::move(plan_);
  }

 private:
  void add_strip(Rows wanted) {
    const size_t n = plan_.stages.size();
    std::vector<StripCall> calls;  // from the last stage back
    Rows need = wanted;
    for (size_t i = n; i-- > 0;) {
      StripCall call;
      call.stage = static_cast<int32_t>(i);
      Rows fresh = need;
      if (i + 1 < n) {
        Rows& held = held_[i];
        call.kept = std::max<int64_t>(held.end - need.begin, 0);
        call.drop = call.kept > 0 ? need.begin - held.begin : 0;
        fresh.begin = need.begin + call.kept;
        held = {need.begin, std::max(need.end, fresh.begin)};
        plan_.buffer_rows[i] = std::max(plan_.buffer_rows[i], held.count());
      }
      const bool enough = fresh.count() <= 0;
      if (!enough) {
        need = input_rows(plan_.stages[i].problem, fresh);
        call.plan = plan_for(i, fresh);
        call.in_row = need.begin;
        call.out_row = fresh.begin;
        call.out_rows = fresh.count();
      }
      calls.push_back(call);
      if (enough) break;  // the stages before have nothing to do
    }
    plan_.parts.back().insert(plan_.parts.back().end(), calls.rbegin(), calls.rend());
  }

  int32_t plan_for(size_t stage, Rows out) {
    const ConvProblem p = part_of(plan_.stages[stage].problem, out);
    for (size_t i = 0; i < plan_.plans.size(); ++i) {
      const ConvProblem& q = plan_.plans[i].problem;
      if (stage_of_[i] == stage && q.in == p.in && q.pad_begin == p.pad_begin && q.pad_end == p.pad_end)
        return static_cast<int32_t>(i);
    }
    ConvChoice choice{.winograd = false};
    if (plan_.first_plan[stage] >= 0) {  // the same packed form
      const ConvPlan& first = plan_.plans[static_cast<size_t>(plan_.first_plan[stage])];
      choice.algorithm = first.algorithm;
      choice.kernel = first.kernel;
    }
    plan_.plans.push_back(conv_plan(p, isa_, choice));
    stage_of_.push_back(stage);
    const auto made = static_cast<int32_t>(plan_.plans.size() - 1);
    if (plan_.first_plan[stage] < 0) plan_.first_plan[stage] = made;
    return made;
  }

  StripPlan plan_;
  IsaSet isa_;
  std::vector<size_t> stage_of_;
  std::vector<Rows> held_;  // by stage: what its buffer has
};

StripPlan plan_rows(std::span<const StripStage> stages, IsaSet isa, int threads, int64_t rows) {
  const ConvProblem& last = stages.back().problem;
  const int64_t height = last.out(1);
  const int64_t parts = std::min(height, (threads + last.n - 1) / last.n);
  Planner planner(stages, isa, std::min(rows, height));
  for (int64_t i = 0; i < parts; ++i) planner.add_part(height * i / parts, height * (i + 1) / parts);
  return planner.finish();
}

}  // namespace

std::optional<StripPlan> strip_plan(std::span<const StripStage> stages, IsaSet isa, int threads,
                                    int64_t cache) {
  if (!fits(stages)) return std::nullopt;
  StripPlan best = plan_rows(stages, isa, std::max(threads, 1), 1);
  while (best.rows < stages.back().problem.out(1)) {
    StripPlan next = plan_rows(stages, isa, std::max(threads, 1), best.rows * 2);
    if (static_cast<int64_t>(next.buffer_bytes) > cache) break;
    best = std::move(next);
  }
  return best;
}

size_t strip_workspace_bytes(const StripPlan& plan, int threads) noexcept {
  return (plan.buffer_bytes + plan.scratch_bytes) * static_cast<size_t>(std::max(threads, 1));
}

namespace {

// Runs one call; `memory` is the thread's.
void run_call(const StripPlan& plan, const StripArgs& args, int64_t image, const StripCall& call,
              std::byte* memory) {
  const auto stage = static_cast<size_t>(call.stage);
  const ConvProblem& p = plan.stages[stage].problem;
  const StripOperands& operands = args.stages[stage];
  const int64_t row = row_floats(p);
  const auto buffer = [&](size_t i) { return reinterpret_cast<float*>(memory + plan.buffer_at[i]); };
  ConvArgs a;
  if (stage + 1 < plan.stages.size()) {
    float* const to = buffer(stage);
    if (call.drop > 0) std::memmove(to, to + call.drop * row, static_cast<size_t>(call.kept * row) * 4);
    a.y = to + call.kept * row;
  } else {
    a.y = args.y + (image * p.out(1) + call.out_row) * row;
  }
  if (call.out_rows == 0) return;
  if (stage > 0) {
    a.x = buffer(stage - 1);
  } else {
    const int64_t line = call.in_row * p.in[2];
    a.x = args.x + image * p.in_pixels() * p.ic + (p.planar ? line : line * p.ic);
    a.ldx = p.planar ? p.in_pixels() : p.ic;
  }
  a.w = operands.w;
  a.epilogue.bias_n = operands.bias;
  a.epilogue.act = operands.act;
  if (operands.residual) a.epilogue.residual = operands.residual + (image * p.out(1) + call.out_row) * row;
  conv_run(plan.plans[static_cast<size_t>(call.plan)], a, memory + plan.buffer_bytes, 1);
}

}  // namespace

void strip_run(const StripPlan& plan, const StripArgs& args, std::byte* workspace, int threads) noexcept {
  const auto parts = static_cast<int64_t>(plan.parts.size());
  threads = std::max(threads, 1);
  parallel_for(threads, plan.stages[0].problem.n * parts, 1, [&](int64_t begin, int64_t end) {
    const int thread = std::min(parallel_index(), threads - 1);
    std::byte* const memory =
        workspace + (plan.buffer_bytes + plan.scratch_bytes) * static_cast<size_t>(thread);
    for (int64_t i = begin; i < end; ++i) {
      for (const StripCall& call : plan.parts[static_cast<size_t>(i % parts)])
        run_call(plan, args, i / parts, call, memory);
    }
  });
}

}  // namespace skyline::kernels
