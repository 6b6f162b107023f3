#include "engine/optimize/cost_table.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "engine/optimize/race.h"
#include "graph/ir/op.h"
#include "kernels/base/cpu.h"
#include "skyline/frontier.h"

namespace skyline {
namespace {

using Json = nlohmann::json;

constexpr const char* kSchema = "skyline.costs";
constexpr int kVersion = 2;
constexpr std::uintmax_t kMostBytes = 64 << 20;
// An operator that takes longer than an hour was not measured.
constexpr double kMostSeconds = 3600;

std::string this_machine() {
  std::string out = "skyline 0.1.0";
  for (const auto& [key, value] : machine_facts()) {
    if (key != "os") out += "; " + key + " " + value;
  }
  return out;
}

template <class T>
void append_list(std::string& key, const std::vector<T>& list) {
  for (const T& x : list) key += std::to_string(x) + ",";
}

void append(std::string& key, const AttrValue& value) {
  if (const auto* i = std::get_if<int64_t>(&value)) key += std::to_string(*i);
  if (const auto* x = std::get_if<float>(&value)) key += std::to_string(*x);
  if (const auto* s = std::get_if<std::string>(&value)) key += *s;
  if (const auto* list = std::get_if<std::vector<int64_t>>(&value)) append_list(key, *list);
  if (const auto* list = std::get_if<std::vector<float>>(&value)) append_list(key, *list);
}

// Throws what is wrong with the file.
std::map<std::string, double> read_file(const std::string& path, const std::string& machine) {
  const auto refuse = [](const std::string& why) { throw std::runtime_error(why); };
  if (std::filesystem::file_size(path) > kMostBytes) refuse("is larger than 64 MiB");
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) refuse("cannot be read");
  const Json j = Json::parse(text.str(), nullptr, false);
  if (j.is_discarded() || !j.is_object() || j.value("schema", Json()) != kSchema)
    refuse("is not a table of costs, or is damaged");
  if (j.value("version", Json()) != kVersion) refuse("is of another version of the format");
  const Json here = j.value("machine", Json()), entries = j.value("seconds", Json());
  if (here != machine)
    refuse("is of another machine or version (" + (here.is_string() ? here.get<std::string>() : "unnamed") +
           ")");
  if (!entries.is_object()) refuse("is damaged: it has no times");
  std::map<std::string, double> out;
  for (const auto& [key, value] : entries.items()) {
    const double s = value.is_number() ? value.get<double>() : -1;
    if (!(s > 0) || s > kMostSeconds) refuse("is damaged: the time of '" + key.substr(0, 60) + "' is none");
    out[key] = s;
  }
  return out;
}

}  // namespace

CostTable::CostTable() : machine_(this_machine()) {}

CostTable CostTable::load(const std::string& path, std::string& warning) {
  CostTable table;
  std::error_code none;
  if (!std::filesystem::exists(path, none)) return table;
  try {
    table.seconds_ = read_file(path, table.machine_);
  } catch (const std::exception& e) {
    warning = "the cost table '" + path + "' " + e.what() + "; costs are measured anew";
  }
  return table;
}

void CostTable::save(const std::string& path) const {
  std::string ignored;
  Json seconds = Json::object();
  for (const auto& [key, s] : load(path, ignored).seconds_) seconds[key] = s;
  for (const auto& [key, s] : seconds_) seconds[key] = s;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) throw Error(Code::io, "cannot make the folder '" + folder.string() + "': " + error.message());
  write_file_whole(
      path,
      Json{{"schema", kSchema}, {"version", kVersion}, {"machine", machine_}, {"seconds", std::move(seconds)}}
              .dump(1) +
          "\n");
}

std::optional<double> CostTable::find(const std::string& key) const {
  const auto it = seconds_.find(key);
  return it == seconds_.end() ? std::nullopt : std::optional(it->second);
}

void CostTable::put(const std::string& key, double seconds) {
  if (seconds > 0 && std::isfinite(seconds)) seconds_[key] = seconds;
}

void append_fact(std::string& key, const Fact& f) {
  key += std::string(name(f.dtype));
  for (Dim d : f.dims) key += "," + std::to_string(d.known() ? d.value() : -1);
  key += ";";
}

std::string weights_home(int64_t bytes) {
  const kernels::CpuInfo& cpu = kernels::cpu_info();
  return bytes <= cpu.l2 ? "l2" : bytes <= cpu.l3 ? "l3" : "memory";
}

std::string operator_signature(const Graph& g, NodeId node) {
  const Node& n = g.node(node);
  std::string key = std::string(n.op->domain) + "." + std::string(n.op->name) + " ";
  for (const auto& [name, value] : n.attrs) {
    key += name + "=";
    append(key, value);
    key += " ";
  }
  for (ValueId v : n.inputs) {
    key += v == kNoValue ? "-" : g.constant(v) ? "c" : "v";
    if (v == kNoValue) continue;
    append_fact(key, g.fact(v));
    // Small integers are sizes, axes and the like: the work depends on them.
    const Tensor* t = g.constant(v);
    if (t && t->dtype() == DType::i64 && t->size() <= 16)
      append_list(key, std::vector<int64_t>(t->data<int64_t>(), t->data<int64_t>() + t->size()));
  }
  key += ">";
  for (ValueId v : n.outputs) {
    if (v != kNoValue) append_fact(key, g.fact(v));
  }
  return key;
}

std::string cost_signature(const Graph& g, NodeId node) {
  const Node& n = g.node(node);
  std::string key = operator_signature(g, node) + ">";
  for (const Use& u : g.value(n.out(0)).uses) key += std::string(g.node(u.node).op->name) + ",";
  return key;
}

std::string cost_key(const std::string& signature, Precision rung, const std::string& kernel, int64_t batch,
                     int threads, const std::string& weights) {
  return signature + "|" + std::string(name(rung)) + "|" + (kernel.empty() ? "default" : kernel) + "|b" +
         std::to_string(batch) + "|t" + std::to_string(threads) + "|w " + weights;
}

double speed_factor(const std::vector<std::pair<double, double>>& known_and_now) {
  std::vector<double> ratios;
  for (const auto& [known, now] : known_and_now) {
    if (known > 0 && now > 0 && std::isfinite(known) && std::isfinite(now)) ratios.push_back(now / known);
  }
  return ratios.empty() ? 1 : median_of(ratios);
}

}  // namespace skyline
