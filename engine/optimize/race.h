#pragma once
// Times several ways to do something in turn, so that what the machine does meanwhile meets all of them
// alike.
#include <functional>
#include <span>
#include <vector>

#include "skyline/constraint.h"
#include "skyline/estimate.h"

namespace skyline {

// The upper one of an even number of values; not of none.
double median_of(std::span<const double> values);

class Race {
 public:
  // Returns the index of the runner. `run` does the work once.
  size_t add(std::function<void()> run);

  // Lets each of `who` run in turn for about `seconds`, once at least, in an order that rotates from turn to
  // turn. A runner's first run ever warms up and does not count.
  void turn(std::span<const size_t> who, double seconds);

  size_t size() const { return runners_.size(); }
  size_t samples(size_t i) const { return runners_[i].samples.size(); }
  size_t turns(size_t i) const { return runners_[i].turns.size(); }
  // Seconds of one run. The interval is the wider one of that of the samples and that of the turns, which see
  // slow drifts. The runner must have had a turn.
  Estimate latency(size_t i, Statistic s) const;
  // The median over the turns that both had of (median of i) / (median of base); with one turn exact.
  Estimate ratio(size_t i, size_t base) const;

 private:
  struct Turn {
    int number;
    double median;
  };
  struct Runner {
    std::function<void()> run;
    bool warm = false;
    std::vector<double> samples;
    std::vector<Turn> turns;
  };
  void run(Runner& r, double seconds);
  std::vector<Runner> runners_;
  int turn_ = 0;
};

}  // namespace skyline
