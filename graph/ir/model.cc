#include "skyline/model.h"

#include "graph/ir/infer.h"

namespace skyline {
namespace {

std::vector<Port> ports(const Graph& g, const std::vector<ValueId>& values,
                        const std::vector<std::string>* names) {
  std::vector<Port> out;
  for (size_t i = 0; i < values.size(); ++i) {
    const ValueInfo& v = g.value(values[i]);
    out.push_back({names ? (*names)[i] : v.name, v.fact, ""});
  }
  return out;
}

}  // namespace

Model::Model(Graph graph, ModelInfo info) {
  verify_graph(graph);
  std::vector<Port> in = ports(graph, graph.inputs(), nullptr);
  std::vector<Port> out = ports(graph, graph.outputs(), &graph.output_names());
  graph_ = std::make_shared<Graph>(std::move(graph));
  data_ = std::make_shared<const Data>(Data{std::move(info), std::move(in), std::move(out)});
}

Model::Model(Graph graph, ModelInfo info, std::vector<Port> inputs, std::vector<Port> outputs) {
  verify_graph(graph);
  graph_ = std::make_shared<Graph>(std::move(graph));
  data_ = std::make_shared<const Data>(Data{std::move(info), std::move(inputs), std::move(outputs)});
}

}  // namespace skyline
