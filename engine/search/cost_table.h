#pragma once
// What operators cost on this machine, kept on disk from one search to the next.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "skyline/graph.h"
#include "skyline/precision.h"

namespace skyline {

// Seconds by signature: operator, attributes, types and shapes, rung, kernel, batch and threads. All times of
// a table are relative to each other only: machines drift, so whoever mixes them with new ones measures some
// of those that are known once more (see `speed`).
class CostTable {
 public:
  // An empty table for this machine: CPU, instructions, caches, and version of the engine.
  CostTable();

  // What is there to be read; a file that is none, is damaged or is of another machine gives an empty table
  // and a warning that says which. No file: an empty table.
  static CostTable load(const std::string& path, std::string& warning);
  // Adds what the file has got meanwhile, and puts it there whole: temporary name, then renamed. Error{io}.
  void save(const std::string& path) const;

  std::optional<double> find(const std::string& key) const;
  void put(const std::string& key, double seconds) { seconds_[key] = seconds; }
  size_t size() const { return seconds_.size(); }
  const std::string& machine() const { return machine_; }

 private:
  std::string machine_;
  std::map<std::string, double> seconds_;
};

// The part of a key that says what a node computes: not its name, nor the values of its weights. Facts are
// static. Followers are part of it: lowering fuses them.
std::string cost_signature(const Graph& g, NodeId node);
std::string cost_key(const std::string& signature, Precision rung, const std::string& kernel, int64_t batch,
                     int threads);

// How much slower the machine is now than when the table was made, by the median over times that are known
// and were measured again; 1 without any.
double speed_factor(const std::vector<std::pair<double, double>>& known_and_now);

}  // namespace skyline
