// The list of operators: one span per family, each defined in the family's file.
#include <unordered_map>

#include "graph/ir/op.h"
#include "graph/ops/families.h"

namespace skyline {
namespace {

struct Key {
  std::string_view domain, name;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  size_t operator()(const Key& k) const {
    return std::hash<std::string_view>()(k.name) * 31 + std::hash<std::string_view>()(k.domain);
  }
};

const std::unordered_map<Key, const OpDef*, KeyHash>& index() {
  static const auto map = [] {
    std::unordered_map<Key, const OpDef*, KeyHash> m;
    for (const OpDef* d : all_ops()) m.emplace(Key{d->domain, d->name}, d);
    return m;
  }();
  return map;
}

}  // namespace

const std::vector<const OpDef*>& all_ops() {
  static const auto list = [] {
    std::vector<const OpDef*> out;
    for (const auto& family : ops::kFamilies) {
      for (const OpDef& d : family()) out.push_back(&d);
    }
    return out;
  }();
  return list;
}

const OpDef* find_op(std::string_view domain, std::string_view name) {
  if (domain == "ai.onnx") domain = "";
  const auto it = index().find(Key{domain, name});
  return it == index().end() ? nullptr : it->second;
}

const OpDef& op(std::string_view name, std::string_view domain) {
  const OpDef* d = find_op(domain, name);
  if (!d) throw Error(Code::internal, "no operator " + std::string(domain) + "." + std::string(name));
  return *d;
}

}  // namespace skyline
