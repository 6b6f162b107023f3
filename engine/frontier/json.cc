// Frontiers as JSON and CSV. Units are the base ones: seconds, examples per second, bytes.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/frontier/check.h"
#include "engine/frontier/units.h"
#include "skyline/frontier.h"
#include "skyline/plan_file.h"

namespace skyline {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;
constexpr uintmax_t kMostBytes = uintmax_t{256} << 20;

Json write_figures(const Figures& f) {
  Json out = Json::object();
  const auto put = [](Json& into, const std::string& key, const std::optional<Estimate>& e) {
    if (e) into[key] = {e->value, e->low, e->high};
  };
  Json latency = Json::object();
  for (int s = 0; s < kStatistics; ++s) {
    const Quantity q{Axis::latency, static_cast<Statistic>(s)};
    put(latency, to_string(q).substr(8), f.get(q));
  }
  if (!latency.empty()) out["latency"] = latency;
  put(out, "throughput", f.throughput);
  put(out, "accuracy", f.accuracy);
  put(out, "accuracy_drop", f.accuracy_drop);
  put(out, "memory", f.memory);
  return out;
}

Json write_point(const Point& p) {
  Json choices = Json::array();
  for (const NodeChoice& c : p.choices) {
    choices.push_back({{"node", c.node},
                       {"op", c.op},
                       {"rung", name(c.rung)},
                       {"kernel", c.kernel},
                       {"layout", c.layout},
                       {"time_share", c.time_share},
                       {"noise", c.noise},
                       {"reason", c.reason}});
  }
  return {{"id", p.id},
          {"state", name(p.state)},
          {"precision", name(p.precision)},
          {"batch", p.batch},
          {"streams", p.streams},
          {"threads", p.threads},
          {"layouts", name(p.layouts)},
          {"predicted", write_figures(p.predicted)},
          {"measured", write_figures(p.measured)},
          {"samples", p.samples},
          {"provenance", p.provenance},
          {"choices", choices}};
}

Json write_head(const FrontierInfo& i, std::string_view schema) {
  Json ranges = Json::object();
  for (const auto& [value, range] : i.ranges) ranges[value] = {range.first, range.second};
  return {{"schema", schema},
          {"version", kVersion},
          {"tool", i.tool},
          {"units",
           "seconds, examples per second, bytes; [value, low, high] with 95 % confidence; "
           "accuracy_drop: for all plans of a search at once"},
          {"model", {{"file", i.model}, {"sha1", i.model_sha1}}},
          {"machine", i.machine},
          {"metric",
           {{"name", i.metric.name},
            {"larger_is_better", i.metric.larger_is_better},
            {"fraction", i.metric.fraction}}},
          {"data",
           {{"source", i.data.source},
            {"calibration", i.data.calibration},
            {"selection", i.data.selection},
            {"report", i.data.report}}},
          {"seed", i.seed},
          {"ranges", ranges},
          {"means", i.means}};
}

std::string write(const FrontierInfo& info, std::span<const Point> points, std::string_view schema) {
  Json out = write_head(info, schema);
  Json& list = out["points"] = Json::array();
  for (const Point& p : points) list.push_back(write_point(p));
  // Names that are no UTF-8 are shown as well as can be.
  return out.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// An object being read, and where it is, for errors. What is absent keeps its default.
class Reader {
 public:
  Reader(const Json& j, std::string where) : json_(j), where_(std::move(where)) {
    if (!j.is_object()) fail("is not an object");
  }

  [[noreturn]] void fail(const std::string& what, const std::string& key = "") const {
    throw Error(Code::invalid, "frontier: " + where_ + (key.empty() ? "" : "." + key) + " " + what);
  }
  const Json* find(const char* key) const {
    const auto it = json_.find(key);
    return it == json_.end() ? nullptr : &*it;
  }
  void read(const char* key, std::string& out) const {
    if (const Json* j = find(key)) {
      if (!j->is_string()) fail("is not a text", key);
      out = j->get_ref<const std::string&>();
    }
  }
  void read(const char* key, bool& out) const {
    if (const Json* j = find(key)) {
      if (!j->is_boolean()) fail("is neither true nor false", key);
      out = j->get<bool>();
    }
  }
  void read(const char* key, double& out) const {
    if (const Json* j = find(key)) out = number(*j, key);
  }
  template <class T>
  requires(std::is_integral_v<T>) void read(const char* key, T& out) const {
    const Json* j = find(key);
    if (!j) return;
    if (!j->is_number_integer()) fail("is not a whole number", key);
    if (j->is_number_unsigned() ? !std::in_range<T>(j->get<uint64_t>())
                                : !std::in_range<T>(j->get<int64_t>()))
      fail("is out of range", key);
    out = j->is_number_unsigned() ? static_cast<T>(j->get<uint64_t>()) : static_cast<T>(j->get<int64_t>());
  }
  void read(const char* key, std::optional<Estimate>& out) const {
    const Json* j = find(key);
    if (!j) return;
    if (!j->is_array() || j->size() != 3) fail("is not [value, low, high]", key);
    out = Estimate{number((*j)[0], key), number((*j)[1], key), number((*j)[2], key)};
  }
  void read(const char* key, std::pair<double, double>& out) const {
    const Json* j = find(key);
    if (!j) return;
    if (!j->is_array() || j->size() != 2) fail("is not [low, high]", key);
    out = {number((*j)[0], key), number((*j)[1], key)};
  }
  void read(const char* key, std::vector<double>& out) const {
    const Json* j = find(key);
    if (!j) return;
    if (!j->is_array()) fail("is not an array", key);
    for (const Json& x : *j) out.push_back(number(x, key));
  }
  Reader object(const char* key) const {
    static const Json kEmpty = Json::object();
    const Json* j = find(key);
    return {j ? *j : kEmpty, where_ + "." + key};
  }
  template <class F>
  void each(const char* key, size_t most, F&& f) const {
    const Json* j = find(key);
    if (!j) return;
    if (!j->is_array()) fail("is not an array", key);
    if (j->size() > most) fail("has more than " + std::to_string(most) + " entries", key);
    for (size_t i = 0; i < j->size(); ++i)
      f(Reader((*j)[i], where_ + "." + key + "[" + std::to_string(i) + "]"));
  }
  template <class T>
  void read_name(const char* key, T& out, T (*parse)(std::string_view)) const {
    std::string text;
    read(key, text);
    if (text.empty()) return;
    try {
      out = parse(text);
    } catch (const Error& e) {
      fail(": " + e.message(), key);
    }
  }
  const Json& json() const { return json_; }

 private:
  double number(const Json& j, const char* key) const {
    if (!j.is_number()) fail("is not a number", key);
    const double x = j.get<double>();
    if (!std::isfinite(x)) fail("is not a finite number", key);
    return x;
  }

  const Json& json_;
  std::string where_;
};

PointState state_from_name(std::string_view s) {
  for (const PointState p : {PointState::predicted, PointState::measured, PointState::dominated}) {
    if (s == name(p)) return p;
  }
  throw Error(Code::invalid, "unknown state '" + std::string(s) + "'; known: predicted, measured, dominated");
}

Figures read_figures(const Reader& r) {
  Figures f;
  const Reader latency = r.object("latency");
  for (int s = 0; s < kStatistics; ++s) {
    const Quantity q{Axis::latency, static_cast<Statistic>(s)};
    latency.read(to_string(q).substr(8).c_str(), f.get(q));
  }
  r.read("throughput", f.throughput);
  r.read("accuracy", f.accuracy);
  r.read("accuracy_drop", f.accuracy_drop);
  r.read("memory", f.memory);
  return f;
}

Point read_point(const Reader& r) {
  Point p;
  r.read("id", p.id);
  r.read_name("state", p.state, state_from_name);
  r.read_name("precision", p.precision, precision_from_name);
  r.read_name("layouts", p.layouts, layout_policy_from_name);
  r.read("batch", p.batch);
  r.read("streams", p.streams);
  r.read("threads", p.threads);
  r.read("samples", p.samples);
  r.read("provenance", p.provenance);
  p.predicted = read_figures(r.object("predicted"));
  p.measured = read_figures(r.object("measured"));
  r.each("choices", frontier::kMostChoices, [&](const Reader& c) {
    NodeChoice& choice = p.choices.emplace_back();
    c.read("node", choice.node);
    c.read("op", choice.op);
    c.read_name("rung", choice.rung, precision_from_name);
    c.read("kernel", choice.kernel);
    c.read("layout", choice.layout);
    c.read("time_share", choice.time_share);
    c.read("noise", choice.noise);
    c.read("reason", choice.reason);
  });
  return p;
}

FrontierInfo read_info(const Reader& r) {
  FrontierInfo i;
  const Reader model = r.object("model"), metric = r.object("metric"), data = r.object("data");
  model.read("file", i.model);
  model.read("sha1", i.model_sha1);
  const Reader machine = r.object("machine");
  for (const auto& [key, value] : machine.json().items()) machine.read(key.c_str(), i.machine[key]);
  metric.read("name", i.metric.name);
  metric.read("larger_is_better", i.metric.larger_is_better);
  metric.read("fraction", i.metric.fraction);
  data.read("source", i.data.source);
  data.read("calibration", i.data.calibration);
  data.read("selection", i.data.selection);
  data.read("report", i.data.report);
  r.read("seed", i.seed);
  const Reader ranges = r.object("ranges");
  if (ranges.json().size() > frontier::kMostChoices) r.fail("has too many entries", "ranges");
  for (const auto& [value, range] : ranges.json().items()) ranges.read(value.c_str(), i.ranges[value]);
  const Reader means = r.object("means");
  if (means.json().size() > frontier::kMostChoices) r.fail("has too many entries", "means");
  for (const auto& [value, mean] : means.json().items()) means.read(value.c_str(), i.means[value]);
  r.read("tool", i.tool);
  return i;
}

Json parse(std::string_view text) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    throw Error(Code::parse, std::string("not JSON: ") + e.what());
  }
}

std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (char c : s) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

}  // namespace

std::string to_json(const Frontier& f) {
  frontier::check(f);
  return write(f.info, f.points, "skyline.frontier");
}

Frontier frontier_from_json(std::string_view text) {
  const Json json = parse(text);
  const Reader r(json, "file");
  std::string schema;
  int64_t version = 0;
  r.read("schema", schema);
  r.read("version", version);
  if (schema != "skyline.frontier" && schema != "skyline.plan")
    throw Error(Code::invalid,
                "this is neither a frontier nor a plan: its schema is '" + schema.substr(0, 80) + "'");
  if (version < 1) r.fail("is not 1 or above", "version");
  if (version > kVersion) {
    throw Error(Code::unsupported, "this frontier has version " + std::to_string(version) +
                                       "; this build reads up to " + std::to_string(kVersion));
  }
  Frontier f;
  f.info = read_info(r);
  r.each("points", frontier::kMostPoints, [&](const Reader& p) { f.points.push_back(read_point(p)); });
  frontier::check(f);
  return f;
}

void save_frontier(const Frontier& f, const std::string& path) {
  write_file_whole(path, to_json(f));
}

void save_plan(const Frontier& f, size_t point, const std::string& path) {
  if (point >= f.points.size())
    throw Error(Code::input, "the frontier has no point " + std::to_string(point));
  frontier::check(f);
  write_file_whole(path, write(f.info, std::span(f.points).subspan(point, 1), "skyline.plan"));
}

Frontier load_frontier(const std::string& path) {
  std::error_code error;
  const auto kind = std::filesystem::status(path, error).type();
  if (kind == std::filesystem::file_type::not_found) throw Error(Code::io, "'" + path + "' is not there");
  if (kind != std::filesystem::file_type::regular)
    throw Error(Code::io, "'" + path + "' is not a regular file");
  if (is_plan_file(path)) return PlanFile::open(path).choice();
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(Code::io, "cannot open '" + path + "'");
  std::string text, piece(size_t{1} << 16, '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0) {
    text.append(piece, 0, static_cast<size_t>(in.gcount()));
    if (text.size() > kMostBytes) throw Error(Code::limit, "'" + path + "' is above 256 MiB");
  }
  if (in.bad()) throw Error(Code::io, "cannot read '" + path + "'");
  try {
    return frontier_from_json(text);
  } catch (Error& e) {
    throw e.in("file " + path);
  }
}

std::string to_csv(const Frontier& f) {
  frontier::check(f);
  std::vector<Quantity> columns;
  columns.reserve(kStatistics + 4);
  for (int s = 0; s < kStatistics; ++s) columns.push_back({Axis::latency, static_cast<Statistic>(s)});
  for (const Axis a : {Axis::throughput, Axis::accuracy, Axis::accuracy_drop, Axis::memory})
    columns.push_back({a});
  std::string out = "id,state,precision,batch,streams,threads,layouts,lowered_nodes,samples";
  for (const char* kind : {"measured", "predicted"}) {
    for (const Quantity q : columns) {
      const std::string key = "," + std::string(kind) + "." + to_string(q);
      out += key + key + ".low" + key + ".high";
    }
  }
  out += ",provenance\r\n";
  for (const Point& p : f.points) {
    const auto lowered = std::count_if(p.choices.begin(), p.choices.end(),
                                       [](const NodeChoice& c) { return c.rung != Precision::f32; });
    out += quoted(p.id) + "," + std::string(name(p.state)) + "," + std::string(name(p.precision)) + "," +
           std::to_string(p.batch) + "," + std::to_string(p.streams) + "," + std::to_string(p.threads) + "," +
           std::string(name(p.layouts)) + "," + std::to_string(lowered) + "," + std::to_string(p.samples);
    for (const Figures* x : {&p.measured, &p.predicted}) {
      for (const Quantity q : columns) {
        const auto& e = x->get(q);
        using frontier::shortest;
        out += e ? "," + shortest(e->value) + "," + shortest(e->low) + "," + shortest(e->high) : ",,,";
      }
    }
    out += "," + quoted(p.provenance) + "\r\n";
  }
  return out;
}

}  // namespace skyline
