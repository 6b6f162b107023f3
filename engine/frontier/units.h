#pragma once
// The units that constraints are written in.
#include <span>
#include <string>
#include <string_view>

#include "skyline/constraint.h"

namespace skyline::frontier {

struct Unit {
  std::string_view name;
  double scale;           // to the base unit: seconds, per second, the metric's, bytes
  bool relative = false;  // a share of what f32 reaches
};

std::span<const Unit> units_of(Axis axis);  // from small to large
std::string unit_names(Axis axis);          // "ns, us, ms or s"
// The spelling of an accepted unit that `wrong` was probably meant as ("mb" is MB, "sec" is s); "" if none.
std::string_view nearest_unit(Axis axis, std::string_view wrong);

// Exactly rounded, so that "0.5pp" is the number 0.005 and "5us" is what std::chrono makes of 5us.
double to_base(const Unit& u, double x);
double from_base(const Unit& u, double base);

// The shortest text that reads back as the same number.
std::string shortest(double x);

}  // namespace skyline::frontier
