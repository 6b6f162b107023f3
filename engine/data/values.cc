#include "engine/data/values.h"

#include <filesystem>

#include "engine/data/npy.h"
#include "graph/onnx/value_io.h"

namespace skyline::data {
namespace fs = std::filesystem;

Value read_value(const std::string& path, const Fact& type) {
  if (path.ends_with(".npy")) return read_npy(path);
  if (path.ends_with(".pb")) return onnx::load_value(path, type);
  throw Error(Code::input, "'" + path + "': inputs are .npy or .pb files");
}

std::vector<Value> read_data_set(const std::string& folder, const std::string& stem,
                                 const std::vector<ValueDescription>& ports) {
  std::vector<Value> out;
  for (size_t i = 0; i < ports.size(); ++i) {
    const fs::path file = fs::path(folder) / (stem + "_" + std::to_string(i) + ".pb");
    if (!fs::exists(file)) {
      if (ports[i].fact.kind != Fact::Kind::optional)
        throw Error(Code::io, "'" + file.string() + "' is missing");
      out.emplace_back();
      continue;
    }
    out.push_back(onnx::load_value(file.string(), ports[i].fact));
  }
  return out;
}

}  // namespace skyline::data
