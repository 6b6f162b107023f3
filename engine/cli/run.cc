// skyline run: from files to files.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/cli/cli.h"
#include "engine/cli/inputs.h"
#include "engine/cli/plan.h"
#include "engine/data/image.h"
#include "engine/data/npy.h"
#include "graph/onnx/value_io.h"

namespace skyline::cli {
namespace {

namespace fs = std::filesystem;

struct Flags {
  SourceFlags source;
  std::string output_dir, format = "npy";
  std::vector<std::string> inputs, images;
  Preprocess image;
  double timeout = 0;
  bool json = false;
  SessionFlags session;
};

std::pair<std::string, std::string> split(const std::string& text, const char* flag) {
  const size_t eq = text.find('=');
  if (eq == std::string::npos || eq == 0)
    throw CLI::ValidationError(flag, "must be NAME=FILE, not '" + text + "'");
  return {text.substr(0, eq), text.substr(eq + 1)};
}

const ValueDescription& port(const Session& s, const std::string& name) {
  std::string names;
  for (const ValueDescription& d : s.inputs()) {
    if (d.name == name) return d;
    names += (names.empty() ? "'" : ", '") + d.name + "'";
  }
  throw Error(Code::input, "the model has no input '" + name + "'; it has " + names);
}

std::string file_name(const std::string& output) {
  std::string out;
  for (char c : output)
    out += std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' ? c : '_';
  return out.empty() || out[0] == '.' ? "_" + out : out;
}

std::string summary(const Value& v) {
  if (!v.is_tensor()) return v.is_sequence() ? fmt::format("sequence of {}", v.items().size()) : "nothing";
  const Tensor& t = v.tensor();
  std::string s = fmt::format("{}{}", name(t.dtype()), to_string(t.dims()));
  if (t.dtype() == DType::f32 && t.size() > 0) {
    const auto x = t.span<float>();
    const auto top = static_cast<size_t>(std::max_element(x.begin(), x.end()) - x.begin());
    s += fmt::format("  min {:.6g}  max {:.6g} at {}", *std::min_element(x.begin(), x.end()), x[top], top);
  }
  return s;
}

void write_outputs(const Flags& flags, const ValueMap& results) {
  if (flags.output_dir.empty()) return;
  std::error_code error;
  fs::create_directories(flags.output_dir, error);
  if (error) throw Error(Code::io, "cannot make folder '" + flags.output_dir + "': " + error.message());
  for (const auto& [key, value] : results) {
    if (!value.is_tensor())
      throw Error(Code::unsupported, "output '" + key + "' is not a tensor: it has no file form");
    const std::string path = (fs::path(flags.output_dir) / (file_name(key) + "." + flags.format)).string();
    if (flags.format == "pb") {
      onnx::save_value(path, value, key);
    } else {
      data::write_npy(path, value.tensor());
    }
  }
}

void run(const Flags& flags) {
  const Session session = open_source(flags.source, flags.session).session;
  ValueMap inputs;
  const auto add = [&](const std::string& key, Value v) {
    if (!inputs.emplace(key, std::move(v)).second)
      throw Error(Code::input, "input '" + key + "' is given twice");
  };
  for (const std::string& text : flags.inputs) {
    const auto [key, path] = split(text, "--input");
    add(key, read_value(path, port(session, key).fact));
  }
  for (const std::string& text : flags.images) {
    const auto [key, path] = split(text, "--image");
    add(key, data::read_image(path, port(session, key), flags.image));
  }
  RunOptions options;
  if (flags.timeout > 0) {
    options.deadline =
        std::chrono::steady_clock::now() +
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(flags.timeout));
  }
  const ValueMap results = session.run(inputs, options);
  write_outputs(flags, results);
  Json json = Json::object();
  std::string text;
  for (const auto& [key, value] : results) {
    text += fmt::format("{}: {}\n", printable(key), summary(value));
    if (value.is_tensor())
      json[key] = {{"dtype", name(value.tensor().dtype())}, {"shape", value.tensor().dims()}};
  }
  print(flags.json ? Json{{"outputs", json}}.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                   : text);
}

}  // namespace

void add_run(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* c = app.add_subcommand("run", "Run a model once on given inputs");
  flags->source.add(*c);
  c->add_option("--input", flags->inputs, "NAME=FILE, a .npy or .pb file; once per input");
  c->add_option("--image", flags->images, "NAME=FILE, a JPEG or PNG resized to the input's height and width");
  c->add_option("--mean", flags->image.mean, "Subtracted per channel, on the 0..255 scale")->expected(3);
  c->add_option("--std", flags->image.std, "Divides per channel, on the 0..255 scale")->expected(3);
  c->add_flag("--bgr", flags->image.bgr, "Blue first");
  c->add_option("--output-dir", flags->output_dir, "Write each output there");
  c->add_option("--format", flags->format, "npy or pb")
      ->check(CLI::IsMember({"npy", "pb"}))
      ->capture_default_str();
  c->add_option("--timeout", flags->timeout, "Stop after so many seconds; 0: never")
      ->check(CLI::NonNegativeNumber);
  c->add_flag("--json", flags->json, "One JSON object");
  flags->session.add(*c);
  c->callback([flags] { run(*flags); });
}

}  // namespace skyline::cli
