#include <cmath>
#include <nlohmann/json.hpp>

#include "graph/onnx/file.h"
#include "skyline/data.h"

namespace skyline {
namespace {

using Json = nlohmann::json;

int64_t size_from(const Json& j, const std::string& key) {
  if (!j.is_number_integer() || j.get<int64_t>() < 0 || j.get<int64_t>() > (1 << 16))
    throw Error(Code::input, "'" + key + "' is not a size in pixels");
  return j.get<int64_t>();
}

std::vector<double> channels_from(const Json& j, const std::string& key, bool divisor) {
  std::vector<double> out;
  if (j.is_array()) {
    for (const Json& x : j) out.push_back(x.is_number() ? x.get<double>() : NAN);
  } else {
    out.assign(3, j.is_number() ? j.get<double>() : NAN);
  }
  if (out.size() == 1) out.assign(3, out[0]);
  for (double x : out) {
    if (!std::isfinite(x) || (divisor && x == 0) || out.size() != 3)
      throw Error(Code::input,
                  "'" + key + "' is not one number or three" + (divisor ? ", none of them 0" : ""));
  }
  return out;
}

std::string one_of(const Json& j, const std::string& key, std::initializer_list<const char*> known) {
  std::string list;
  for (const char* k : known) {
    if (j.is_string() && j.get<std::string>() == k) return k;
    list += (list.empty() ? "" : ", ") + std::string(k);
  }
  throw Error(Code::input, "'" + key + "' is not one of " + list);
}

}  // namespace

Preprocess Preprocess::load(const std::string& path) {
  const std::string text = onnx::read_file(path, 1 << 20);
  Preprocess p;
  try {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) throw Error(Code::input, "not a JSON object");
    for (const auto& [key, value] : json.items()) {
      if (key == "resize") {
        p.resize = size_from(value, key);
      } else if (key == "crop") {
        p.crop = size_from(value, key);
      } else if (key == "mean") {
        p.mean = channels_from(value, key, false);
      } else if (key == "std") {
        p.std = channels_from(value, key, true);
      } else if (key == "color") {
        p.bgr = one_of(value, key, {"RGB", "BGR"}) == "BGR";
      } else if (key == "layout") {
        p.layout = one_of(value, key, {"NCHW", "NHWC"});
      } else if (key == "dtype") {
        p.dtype = one_of(value, key, {"f32", "u8"});
      } else {
        throw Error(Code::input,
                    "unknown key '" + key + "'; there are resize, crop, mean, std, color, layout, dtype");
      }
    }
  } catch (Error& e) {
    throw e.in("file " + path);
  }
  return p;
}

}  // namespace skyline
