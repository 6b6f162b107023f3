#pragma once
// What products cost on each rung: from the cost table where it knows, else measured.
#include <functional>
#include <string>
#include <vector>

#include "engine/optimize/cost_table.h"
#include "engine/optimize/node_costs.h"
#include "engine/search/variants.h"

namespace skyline {

class KnownCosts {
 public:
  // table may be null: then everything is measured.
  KnownCosts(const Variants& variants, CostTable* table) : variants_(variants), table_(table) {}

  // As measure_node_costs; the first session is that of f32. Rungs of which the table knows all products are
  // not measured. f32 always is, if only shortly: how fast the machine is now tells what known times are
  // worth. What is new goes into the table.
  NodeCosts measure(const std::vector<std::string>& names, const std::vector<RungSession>& sessions,
                    const std::vector<Value>& inputs,
                    const std::function<void(int done, int total)>& progress);
  int64_t known() const { return known_count_; }
  int64_t measured() const { return measured_count_; }

 private:
  std::string key(size_t product, Precision rung) const;
  std::string rest_key(Precision rung) const;
  bool knows(Precision rung) const;
  double speed(const NodeCosts& now) const;
  void put(const std::string& key, double seconds);

  const Variants& variants_;
  CostTable* table_;
  int64_t known_count_ = 0, measured_count_ = 0;
};

}  // namespace skyline
