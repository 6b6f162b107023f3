#pragma once
// What each contraction costs on each rung of the precision ladder, from profiles of sessions that run the
// whole model on one rung, in turn: times are those that the node has among its neighbours, with their
// caches.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "skyline/precision.h"
#include "skyline/session.h"

namespace skyline {

struct NodeCosts {
  std::vector<std::string> nodes;            // contractions, in the model's order
  std::vector<Precision> rungs;              // the first is f32
  std::vector<std::vector<double>> seconds;  // [node][rung], medians; infinite where the rung is not had
  std::vector<double> rest;                  // [rung] of all other steps
  std::vector<double> total;                 // [rung] of whole runs, medians
};

// A session that runs the model on that rung, its contractions under the names given in `nodes`.
struct RungSession {
  Precision rung;
  const Session* session;
};

// Runs the sessions in turn, each `rounds` times, on the same inputs. A step that computes several
// contractions (its name is theirs joined by '+') is shared out by their work. progress may be null.
NodeCosts measure_node_costs(const std::vector<std::string>& nodes, const std::vector<RungSession>& sessions,
                             const std::vector<Value>& inputs, int rounds,
                             const std::function<void(int done, int total)>& progress = {});

}  // namespace skyline
