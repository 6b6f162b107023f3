#include <algorithm>

#include "skyline/graph.h"

namespace skyline {
namespace {

template <class T>
const T& get(const AttrValue& v, std::string_view name, const char* type) {
  if (const T* p = std::get_if<T>(&v)) return *p;
  throw Error(Code::invalid, "attribute '" + std::string(name) + "' must be " + type);
}

const AttrValue& need(const AttrValue* v, std::string_view name) {
  if (!v) throw Error(Code::invalid, "attribute '" + std::string(name) + "' is missing");
  return *v;
}

}  // namespace

const AttrValue* Attrs::find(std::string_view name) const {
  for (const auto& [key, value] : items_) {
    if (key == name) return &value;
  }
  return nullptr;
}

Attrs& Attrs::set(std::string name, AttrValue value) {
  for (auto& [key, old] : items_) {
    if (key == name) {
      old = std::move(value);
      return *this;
    }
  }
  items_.emplace_back(std::move(name), std::move(value));
  return *this;
}

void Attrs::erase(std::string_view name) {
  std::erase_if(items_, [&](const auto& item) { return item.first == name; });
}

int64_t Attrs::integer(std::string_view name) const {
  return get<int64_t>(need(find(name), name), name, "an int");
}
int64_t Attrs::integer(std::string_view name, int64_t fallback) const {
  const AttrValue* v = find(name);
  return v ? get<int64_t>(*v, name, "an int") : fallback;
}
float Attrs::real(std::string_view name) const {
  return get<float>(need(find(name), name), name, "a float");
}
float Attrs::real(std::string_view name, float fallback) const {
  const AttrValue* v = find(name);
  return v ? get<float>(*v, name, "a float") : fallback;
}
const std::string& Attrs::text(std::string_view name) const {
  return get<std::string>(need(find(name), name), name, "a string");
}
std::string Attrs::text(std::string_view name, std::string_view fallback) const {
  const AttrValue* v = find(name);
  return v ? get<std::string>(*v, name, "a string") : std::string(fallback);
}
const Dims& Attrs::integers(std::string_view name) const {
  return get<Dims>(need(find(name), name), name, "a list of ints");
}
Dims Attrs::integers(std::string_view name, const Dims& fallback) const {
  const AttrValue* v = find(name);
  return v ? get<Dims>(*v, name, "a list of ints") : fallback;
}
std::vector<float> Attrs::reals(std::string_view name, const std::vector<float>& fallback) const {
  const AttrValue* v = find(name);
  return v ? get<std::vector<float>>(*v, name, "a list of floats") : fallback;
}
std::vector<std::string> Attrs::texts(std::string_view name, const std::vector<std::string>& fallback) const {
  const AttrValue* v = find(name);
  return v ? get<std::vector<std::string>>(*v, name, "a list of strings") : fallback;
}
const Tensor& Attrs::tensor(std::string_view name) const {
  return get<Tensor>(need(find(name), name), name, "a tensor");
}
const Graph& Attrs::graph(std::string_view name) const {
  return *get<GraphPtr>(need(find(name), name), name, "a graph");
}

}  // namespace skyline
