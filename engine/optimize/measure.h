#pragma once
// What a few nodes cost on this machine: they are lowered as a plan of their own and timed.
#include "engine/optimize/cost_table.h"
#include "engine/optimize/layout.h"
#include "skyline/isa.h"

namespace skyline {

// Layout costs by timing the kernels that lowering picks, on made-up data in warm caches. A signature
// (operator, attributes, types and shapes, form, ISA, threads) is measured once in a process; all sessions
// share what is known. Thread-safe.
class MeasuredLayoutCosts : public LayoutCosts {
 public:
  // table: null, or where times are looked up first and what is new is put; must outlive this.
  MeasuredLayoutCosts(IsaSet isa, int threads, CostTable* table = nullptr)
      : isa_(isa), threads_(threads), table_(table) {}
  double node(const Graph& g, const passes::LayoutChoice& choice, const passes::LayoutForm& form) override;
  double move(const Fact& fact, passes::Layout from) override;

 private:
  template <class F>
  double once(const std::string& what, F&& measure);

  IsaSet isa_;
  int threads_;
  CostTable* table_;
};

}  // namespace skyline
