#pragma once
// Frontiers in a terminal.
#include <string>

#include "skyline/frontier.h"

namespace skyline::cli {

// One row a point, best latency first, with what was measured (or predicted) in units for people.
std::string point_table(const Frontier& f);
// Latency against accuracy in characters; against throughput if accuracy is not known. "" with nothing to
// draw.
std::string point_plot(const Frontier& f, int columns = 72, int rows = 18);
// A point's figures, one a line.
std::string point_figures(const Frontier& f, const Point& p);
// "3 f32, 41 int8": how many of the chosen nodes are on each rung.
std::string rungs_of(const Point& p);
// The nodes of a point, in the graph's order: rung, share of time and of noise, why.
std::string choice_table(const Point& p);
// How a node is computed: "f32, winograd, channels_last"; "-" for null.
std::string choice_text(const NodeChoice* c);
// Two points side by side: figures with their ratio, and the nodes that are computed differently.
std::string difference(const Frontier& fa, const Point& a, const Frontier& fb, const Point& b);

}  // namespace skyline::cli
