#include "graph/onnx/refusals.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "graph/ir/op.h"
#include "graph/onnx/wire.h"

namespace skyline::onnx {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t keep = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({keep, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string full_name(std::string_view domain, std::string_view op) {
  return (domain.empty() ? "ai.onnx" : std::string(domain)) + "." + std::string(op);
}

}  // namespace

std::string nearest_operator(std::string_view domain, std::string_view op) {
  constexpr size_t kLongest = 64;
  if (op.size() > kLongest) return "";
  const OpDef* best = nullptr;
  size_t best_distance = 1 + op.size() / 3;  // farther is not a likeness
  for (const OpDef* d : all_ops()) {
    if (d->domain == "skyline") continue;
    const size_t distance = edit_distance(op, d->name);
    if (distance == 0 && d->domain != domain)
      return "; nearest: the same name in " + full_name(d->domain, d->name);
    if (distance < best_distance) best = d, best_distance = distance;
  }
  return best ? "; nearest: " + full_name(best->domain, best->name) : "";
}

Error Refusals::error() const {
  std::map<std::tuple<std::string, std::string, int64_t, std::string>, std::vector<std::string>> groups;
  for (const Item& i : items_) groups[{i.domain, i.op, i.opset, i.why}].push_back(i.node);
  constexpr size_t kMostNodes = 5, kMostGroups = 100;
  std::string text =
      std::to_string(items_.size()) + (items_.size() == 1 ? " node cannot be run" : " nodes cannot be run");
  size_t listed = 0;
  for (const auto& [key, nodes] : groups) {
    if (listed++ == kMostGroups) {
      text += "\n  ... and " + std::to_string(groups.size() - kMostGroups) + " more";
      break;
    }
    const auto& [domain, op, opset, why] = key;
    text += "\n  " + quoted(full_name(domain, op)) + " opset " + std::to_string(opset) + ": " + why + "; ";
    text += std::to_string(nodes.size()) + (nodes.size() == 1 ? " node: " : " nodes: ");
    for (size_t i = 0; i < std::min(nodes.size(), kMostNodes); ++i) text += (i ? ", " : "") + nodes[i];
    if (nodes.size() > kMostNodes) text += ", ...";
  }
  return Error(Code::unsupported, text);
}

}  // namespace skyline::onnx
