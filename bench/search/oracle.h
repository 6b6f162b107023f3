#pragma once
// What whole plans of a model really take and how noisy they are, each measured once, so that strategies of
// search can be compared on the same figures.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/optimize/race.h"
#include "engine/search/acquire.h"
#include "engine/search/variants.h"
#include "skyline/data.h"

namespace skyline::search {

using Plan = std::vector<Precision>;

class Oracle {
 public:
  Oracle(const Variants& variants, const Dataset& data, int64_t examples);

  // Of a plan, measured in turns with f32 at the first call; `seconds` in all.
  TimeAndNoise measure(const Plan& plan, double seconds = 0.06);
  // These plans measured anew, all in turns with each other: what other tenants take of the machine's tiles
  // differs by more from minute to minute than plans do. again() then gives what came of it.
  void measure_again(const std::set<Plan>& plans);
  TimeAndNoise again(const Plan& plan) const { return again_.at(plan); }
  size_t measured() const { return known_.size(); }
  const Session& f32() const { return f32_; }
  const std::vector<std::vector<Value>>& inputs() const { return inputs_; }

 private:
  const Variants& variants_;
  std::vector<std::vector<Value>> inputs_, reference_;
  Session f32_;
  Context context_;
  double ratio_of(const Session& session, double seconds);
  std::map<Plan, TimeAndNoise> known_, again_;
};

}  // namespace skyline::search
