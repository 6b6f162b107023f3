#pragma once
// What operators cost on this machine, kept on disk from one search to the next.
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "skyline/graph.h"
#include "skyline/precision.h"

namespace skyline {

// Seconds by key: of products by signature (operator, attributes, types and shapes), rung, kernel, batch,
// threads, and where the weights of the whole model are found at each run (weights_home); of nodes alone by
// form of layout; of moves between layouts by type and shape; of conversions by operator and size. All times
// of a table are relative to each other only: machines drift, so whoever mixes them with new ones measures
// some of those that are known once more (see speed_factor).
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
  // What is no time (not above 0, or not finite) is not kept.
  void put(const std::string& key, double seconds);
  size_t size() const { return seconds_.size(); }
  const std::string& machine() const { return machine_; }

 private:
  std::string machine_;
  std::map<std::string, double> seconds_;
};

// What a node computes: not its name, nor the values of its weights. Facts are static.
std::string operator_signature(const Graph& g, NodeId node);
// The same with the operators that follow: lowering fuses them.
std::string cost_signature(const Graph& g, NodeId node);
std::string cost_key(const std::string& signature, Precision rung, const std::string& kernel, int64_t batch,
                     int threads, const std::string& weights);
void append_fact(std::string& key, const Fact& f);

// Where a model that reads so many bytes of weights a run finds them at the next one: "l2", "l3" or "memory".
// The same product takes longer in a large model (cold weights) than in a small one (warm ones).
std::string weights_home(int64_t bytes);

// How much slower the machine is now than when the table was made, by the median over times that are known
// and were measured again; 1 without any.
double speed_factor(const std::vector<std::pair<double, double>>& known_and_now);

}  // namespace skyline
