#pragma once
// A kernel on a problem of a typical size, with its work and a check: what bench/micro and `skyline kernels
// bench` run over every row of the registry. Not part of the library.
//
// How to use:  for (const Trial& t : make_trials(row)) { if (t.error() > 1) wrong; else time t.run(); }
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "skyline/kernel.h"

namespace skyline::kernels {

struct Trial {
  const KernelInfo* kernel = nullptr;
  std::string name;           // unique within the row: "512x512x512", "exp"
  double flops = 0;           // of one run; 0 where counting bytes says more
  double bytes = 0;           // read and written by one run, each once
  std::function<void()> run;  // on one thread; may be called any number of times
  std::function<double()>
      error;  // runs, and returns the largest error in units of what is allowed: above 1 is wrong
};

// The trials of one row; none if there are none for its family (those that only measure the machine). The CPU
// must be able to run the row. Trials own their data and may be copied.
std::vector<Trial> make_trials(const KernelInfo& row);

}  // namespace skyline::kernels
