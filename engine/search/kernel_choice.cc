#include "engine/search/kernel_choice.h"

#include <algorithm>
#include <cmath>

#include "engine/optimize/node_costs.h"
#include "graph/ir/precision.h"
#include "kernels/conv/conv.h"
#include "kernels/gemm/tile.h"

namespace skyline {
namespace {

constexpr int kRounds = 7;
// Another kernel must save so much of a product's time: minima and medians of short runs differ by 2 to 5 %.
constexpr double kWorthIt = 0.93;

// Whether a wish for this kernel can change how a node runs: products that are no convolutions know rows
// only.
bool concerns(const std::string& kernel, const std::string& op) {
  if (op.find("Conv") != std::string::npos) return true;
  const auto algorithms = kernels::conv_algorithms();
  return kernel != "apart" && std::none_of(algorithms.begin(), algorithms.end(),
                                           [&](const kernels::ConvAlgorithm& a) { return a.name == kernel; });
}

}  // namespace

std::vector<std::string> kernel_alternatives(const SessionOptions& options) {
  using kernels::ConvMethod;
  std::vector<std::string> out;
  for (const kernels::ConvAlgorithm& a : kernels::conv_algorithms()) {
    if (a.method == ConvMethod::winograd || a.method == ConvMethod::direct || a.method == ConvMethod::gemm ||
        a.method == ConvMethod::indirect)
      out.emplace_back(a.name);
  }
  const IsaSet isa = isa_level(options.isa);
  IsaSet widest = kIsaNone;
  const auto is_row = [&](const KernelInfo* k) {
    return k->op == "gemm" && k->in == DType::f32 && usable(*k, isa);
  };
  for (const KernelInfo* k : all_kernels()) {
    if (is_row(k) && (k->needs & widest) == widest) widest = k->needs;
  }
  for (const KernelInfo* k : all_kernels()) {
    if (is_row(k) && k->needs == widest) out.emplace_back(k->name);
  }
  for (const KernelInfo* k : options.kernels) {
    if (is_row(k)) out.emplace_back(k->name);
  }
  out.emplace_back("apart");
  return out;
}

std::map<std::string, std::string> choose_kernels(const Variants& variants, const std::vector<Value>& inputs,
                                                  CostTable* table, const std::function<bool()>& stop,
                                                  const std::function<void(const std::string&)>& progress) {
  const auto& products = variants.flow().products;
  const std::vector<Precision> f32(products.size(), Precision::f32);
  std::vector<std::string> names;
  names.reserve(products.size());
  for (const auto& p : products) names.push_back(p.name);
  const auto key = [&](size_t i, const std::string& kernel) {
    return variants.cost_key(i, Precision::f32, "race " + kernel);
  };
  const Session plain = variants.cost_session(f32);
  std::vector<double> best(products.size(), kWorthIt);
  std::map<std::string, std::string> chosen;
  for (const std::string& kernel : kernel_alternatives(variants.options())) {
    if (stop && stop()) break;
    if (std::none_of(products.begin(), products.end(), [&](const auto& p) { return concerns(kernel, p.op); }))
      continue;
    if (progress) progress("kernel " + kernel);
    // As a share of the default's time, which is measured beside it.
    std::vector<double> share(products.size(), INFINITY);
    bool known = table != nullptr;
    for (size_t i = 0; known && i < products.size(); ++i) {
      const auto s = table->find(key(i, kernel));
      known = s.has_value();
      if (known) share[i] = *s;
    }
    if (!known) {
      Wishes all;
      for (const std::string& n : names) all.kernels[n] = kernel;
      const Session other = variants.cost_session(f32, &all);
      const NodeCosts costs = measure_node_costs(names, {{Precision::f32, &plain}, {Precision::f32, &other}},
                                                 inputs, kRounds, {});
      for (size_t i = 0; i < products.size(); ++i) {
        if (std::isfinite(costs.seconds[i][0]) && std::isfinite(costs.seconds[i][1]))
          share[i] = costs.seconds[i][1] / std::max(costs.seconds[i][0], 1e-9);
        if (table) table->put(key(i, kernel), share[i]);
      }
    }
    for (size_t i = 0; i < products.size(); ++i) {
      if (share[i] >= best[i] || !concerns(kernel, products[i].op)) continue;
      best[i] = share[i];
      chosen[names[i]] = kernel;
    }
  }
  return chosen;
}

}  // namespace skyline
