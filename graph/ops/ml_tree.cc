// ai.onnx.ml: tree ensembles. The three operators describe their trees differently; all become a Forest.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "graph/ops/cast.h"
#include "graph/ops/families.h"
#include "graph/ops/ml.h"
#include "graph/ops/util.h"

namespace skyline::ops {
namespace {

enum class Mode : uint8_t { leq, lt, gte, gt, eq, neq, member, leaf };

struct Vote {
  int64_t target;
  double weight;
};

struct TreeNode {
  Mode mode = Mode::leaf;
  bool missing_is_true = false;
  int64_t feature = 0;
  double split = 0;
  size_t yes = 0, no = 0;       // indices of nodes
  std::vector<double> members;  // of a set-membership node
  std::vector<Vote> votes;      // of a leaf
};

enum class Aggregate : uint8_t { average, sum, least, most };

struct Forest {
  std::vector<TreeNode> nodes;
  std::vector<size_t> roots;
  Aggregate aggregate = Aggregate::sum;
  int64_t targets = 1;
  std::vector<double> base;  // empty, or one per target (a classifier of two classes may have one)
};

[[noreturn]] void broken(const std::string& what) {
  throw Error(Code::invalid, "tree ensemble: " + what);
}

// Features, children and targets that exist; Error{invalid} otherwise. Cycles are found while walking.
void check_forest(const Forest& f, int64_t features) {
  for (const TreeNode& n : f.nodes) {
    if (n.mode != Mode::leaf) {
      if (n.feature < 0 || n.feature >= features) {
        broken("feature " + std::to_string(n.feature) + " of an input with " + std::to_string(features));
      }
      if (n.yes >= f.nodes.size() || n.no >= f.nodes.size()) broken("a child does not exist");
    }
    for (const Vote& v : n.votes) {
      if (v.target < 0 || v.target >= f.targets) {
        broken("target " + std::to_string(v.target) + " of " + std::to_string(f.targets));
      }
    }
  }
}

bool takes_yes(const TreeNode& n, double x) {
  if (std::isnan(x) && n.missing_is_true) return true;
  switch (n.mode) {
    case Mode::leq:
      return x <= n.split;
    case Mode::lt:
      return x < n.split;
    case Mode::gte:
      return x >= n.split;
    case Mode::gt:
      return x > n.split;
    case Mode::eq:
      return x == n.split;
    case Mode::neq:
      return x != n.split;
    case Mode::member:
      for (double m : n.members) {
        if (m == x) return true;
      }
      return false;
    case Mode::leaf:
      break;
  }
  return false;
}

const TreeNode& find_leaf(const Forest& f, size_t root, const double* x) {
  size_t at = root;
  for (size_t steps = 0; f.nodes[at].mode != Mode::leaf; ++steps) {
    if (steps > f.nodes.size()) broken("the branches form a cycle");
    at = takes_yes(f.nodes[at], x[f.nodes[at].feature]) ? f.nodes[at].yes : f.nodes[at].no;
  }
  return f.nodes[at];
}

// Scores of one row of features, without the base values.
void score_row(const Forest& f, const double* x, std::span<double> scores) {
  std::vector<bool> seen(scores.size());
  for (double& s : scores) s = 0;
  for (size_t root : f.roots) {
    for (const Vote& v : find_leaf(f, root, x).votes) {
      const auto k = static_cast<size_t>(v.target);
      double& s = scores[k];
      if (f.aggregate == Aggregate::sum || f.aggregate == Aggregate::average) {
        s += v.weight;
      } else if (!seen[k]) {
        s = v.weight;
      } else {
        s = f.aggregate == Aggregate::least ? std::fmin(s, v.weight) : std::fmax(s, v.weight);
      }
      seen[k] = true;
    }
  }
  if (f.aggregate == Aggregate::average) {
    for (double& s : scores) s /= static_cast<double>(f.roots.size());
  }
}

// ---- the older description: (tree, node) pairs
// ---------------------------------------------------------------------------

// Floats, or doubles in an attribute of the same name with "_as_tensor".
std::vector<double> reals_attribute(const EvalContext& c, const std::string& name) {
  if (c.attrs().has(name + "_as_tensor")) {
    const Tensor t = cast_tensor(c, c.attrs().tensor(name + "_as_tensor"), DType::f64);
    return {t.span<double>().begin(), t.span<double>().end()};
  }
  const auto v = c.attrs().reals(name, {});
  return {v.begin(), v.end()};
}

Mode mode_of(const std::string& s) {
  constexpr std::array<std::string_view, 8> kNames{"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                                   "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (s == kNames[i] && s != "BRANCH_MEMBER") return static_cast<Mode>(i);
  }
  broken("mode \"" + s + "\"");
}

using NodeIndex = std::map<std::pair<int64_t, int64_t>, size_t>;

size_t node_at(const NodeIndex& index, int64_t tree, int64_t node) {
  const auto found = index.find({tree, node});
  if (found == index.end()) broken("tree " + std::to_string(tree) + " has no node " + std::to_string(node));
  return found->second;
}

void require_length(size_t have, size_t want, std::string_view name) {
  if (have != want) {
    broken("attribute " + std::string(name) + " has " + std::to_string(have) + " entries, not " +
           std::to_string(want));
  }
}

// `prefix` is "class" or "target": the attributes that hold the votes.
Forest parse_pairs(const EvalContext& c, const std::string& prefix, const std::string& ids) {
  const Attrs& a = c.attrs();
  Forest f;
  const Dims none;
  const Dims trees = a.integers("nodes_treeids", none), nodes = a.integers("nodes_nodeids", none);
  const Dims features = a.integers("nodes_featureids", none), yes = a.integers("nodes_truenodeids", none);
  const Dims no = a.integers("nodes_falsenodeids", none),
             missing = a.integers("nodes_missing_value_tracks_true", none);
  const auto modes = a.texts("nodes_modes", {});
  const auto values = reals_attribute(c, "nodes_values");
  const size_t n = trees.size();
  require_length(nodes.size(), n, "nodes_nodeids");
  require_length(features.size(), n, "nodes_featureids");
  require_length(yes.size(), n, "nodes_truenodeids");
  require_length(no.size(), n, "nodes_falsenodeids");
  require_length(modes.size(), n, "nodes_modes");
  require_length(values.size(), n, "nodes_values");
  if (!missing.empty()) require_length(missing.size(), n, "nodes_missing_value_tracks_true");

  NodeIndex index;
  std::map<int64_t, bool> started;
  f.nodes.resize(n);
  for (size_t i = 0; i < n; ++i) {
    if (!index.emplace(std::pair{trees[i], nodes[i]}, i).second) {
      broken("node " + std::to_string(nodes[i]) + " of tree " + std::to_string(trees[i]) + " is there twice");
    }
    if (!started[trees[i]]) f.roots.push_back(i);
    started[trees[i]] = true;
  }
  for (size_t i = 0; i < n; ++i) {
    TreeNode& t = f.nodes[i];
    t.mode = mode_of(modes[i]);
    if (t.mode == Mode::leaf) continue;
    t.feature = features[i];
    t.split = values[i];
    t.missing_is_true = !missing.empty() && missing[i] != 0;
    t.yes = node_at(index, trees[i], yes[i]);
    t.no = node_at(index, trees[i], no[i]);
  }
  const Dims vote_trees = a.integers(prefix + "_treeids", none),
             vote_nodes = a.integers(prefix + "_nodeids", none);
  const Dims targets = a.integers(ids, none);
  const auto weights = reals_attribute(c, prefix + "_weights");
  require_length(vote_nodes.size(), vote_trees.size(), prefix + "_nodeids");
  require_length(targets.size(), vote_trees.size(), ids);
  require_length(weights.size(), vote_trees.size(), prefix + "_weights");
  for (size_t i = 0; i < weights.size(); ++i) {
    f.nodes[node_at(index, vote_trees[i], vote_nodes[i])].votes.push_back({targets[i], weights[i]});
  }
  f.base = reals_attribute(c, "base_values");
  return f;
}

// ---- TreeEnsembleRegressor
// -------------------------------------------------------------------------------------------------

Aggregate aggregate_of(const std::string& s) {
  if (s == "AVERAGE") return Aggregate::average;
  if (s == "SUM") return Aggregate::sum;
  if (s == "MIN") return Aggregate::least;
  if (s == "MAX") return Aggregate::most;
  throw Error(Code::invalid, "attribute aggregate_function is \"" + s + "\"");
}

int64_t target_count(const Attrs& attrs) {
  const int64_t n = attrs.integer("n_targets", 1);
  if (n < 1) throw Error(Code::invalid, "attribute n_targets is " + std::to_string(n));
  return n;
}

void infer_regressor(InferContext& c) {
  c.out(0, Fact(DType::f32, {rows_of(c.in(0)).first, target_count(c.attrs())}));
}

// Scores of all rows, transformed, as f64 [rows, targets].
Tensor regress(const EvalContext& c, const Forest& f, PostTransform post) {
  const Tensor x = features_of(c, 0);
  const Rows r = rows_of(x.dims());
  check_forest(f, r.features);
  Tensor y = c.make(DType::f64, {r.rows, f.targets});
  const auto width = static_cast<size_t>(f.targets);
  if (!f.base.empty() && f.base.size() != width)
    broken("attribute base_values does not have an entry per target");
  for (int64_t i = 0; i < r.rows; ++i) {
    const auto scores = y.mutable_span<double>().subspan(static_cast<size_t>(i) * width, width);
    score_row(f, x.data<double>() + i * r.features, scores);
    for (size_t k = 0; k < f.base.size(); ++k) scores[k] += f.base[k];
    apply_post_transform(post, scores);
    if (c.limits.check) c.limits.check();
  }
  return y;
}

void eval_regressor(EvalContext& c) {
  Forest f = parse_pairs(c, "target", "target_ids");
  f.targets = target_count(c.attrs());
  f.aggregate = aggregate_of(c.attrs().text("aggregate_function", "SUM"));
  c.out(0, cast_tensor(c, regress(c, f, parse_post_transform(c.attrs())), DType::f32));
}

// ---- TreeEnsembleClassifier
// ------------------------------------------------------------------------------------------------

void infer_classifier(InferContext& c) {
  const Labels labels = parse_labels(c.attrs(), "classlabels_int64s", "classlabels_strings");
  const Dim rows = rows_of(c.in(0)).first;
  // One label still gives two scores when the votes are for one class.
  c.out(0, Fact(labels.dtype(), {rows}));
  c.out(1, Fact(DType::f32, {rows, static_cast<int64_t>(labels.size())}));
}

void eval_classifier(EvalContext& c) {
  const Labels labels = parse_labels(c.attrs(), "classlabels_int64s", "classlabels_strings");
  const PostTransform post = parse_post_transform(c.attrs());
  Forest f = parse_pairs(c, "class", "class_ids");
  f.targets = static_cast<int64_t>(labels.size());
  const Tensor x = features_of(c, 0);
  const Rows r = rows_of(x.dims());
  check_forest(f, r.features);
  const Dims ids = c.attrs().integers("class_ids", {});
  // Of two classes only the first gets votes: they are for the second, and the first one's score follows from
  // its.
  bool one_score = labels.size() == 2 && !ids.empty(), probability = true;
  for (int64_t id : ids) one_score = one_score && id == 0;
  for (double w : reals_attribute(c, "class_weights")) probability = probability && w >= 0;
  if (!f.base.empty() && f.base.size() != labels.size() && !(one_score && f.base.size() == 1)) {
    broken("attribute base_values does not have an entry per class");
  }
  const size_t width = labels.size();
  Tensor y = c.make(DType::f64, {r.rows, f.targets}), best = c.make(DType::i64, {r.rows});
  for (int64_t i = 0; i < r.rows; ++i) {
    const auto scores = y.mutable_span<double>().subspan(static_cast<size_t>(i) * width, width);
    score_row(f, x.data<double>() + i * r.features, scores);
    int64_t& pick = best.mutable_data<int64_t>()[i];
    if (one_score) {
      const double s = scores[0] + (f.base.empty() ? 0.0 : f.base.back());
      pick = s > (probability ? 0.5 : 0.0);
      pair_scores(post, s, probability, scores);
    } else {
      for (size_t k = 0; k < f.base.size(); ++k) scores[k] += f.base[k];
      pick = std::max_element(scores.begin(), scores.end()) - scores.begin();
      apply_post_transform(post, scores);
    }
    if (c.limits.check) c.limits.check();
  }
  c.out(0, pick_labels(c, labels, best.span<int64_t>()));
  c.out(1, cast_tensor(c, y, DType::f32));
}

// ---- TreeEnsemble: nodes and leaves by position
// ------------------------------------------------------------------------------

void infer_ensemble(InferContext& c) {
  c.out(0, Fact(c.in(0).dtype, {rows_of(c.in(0)).first, target_count(c.attrs())}));
}

size_t child(int64_t at, int64_t is_leaf, size_t interior, size_t leaves) {
  if (at < 0 || static_cast<size_t>(at) >= (is_leaf ? leaves : interior))
    broken("child " + std::to_string(at) + " does not exist");
  return is_leaf ? interior + static_cast<size_t>(at) : static_cast<size_t>(at);
}

std::vector<double> tensor_values(const EvalContext& c, const std::string& name) {
  const Tensor t = cast_tensor(c, c.attrs().tensor(name), DType::f64);
  return {t.span<double>().begin(), t.span<double>().end()};
}

// Sets of members follow each other in the order of the nodes, each ended by a NaN.
void add_members(const EvalContext& c, Forest& f) {
  std::vector<double> values;
  if (c.attrs().has("membership_values")) values = tensor_values(c, "membership_values");
  size_t at = 0;
  for (TreeNode& n : f.nodes) {
    if (n.mode != Mode::member) continue;
    while (at < values.size() && !std::isnan(values[at])) n.members.push_back(values[at++]);
    if (at == values.size()) broken("attribute membership_values has too few sets");
    ++at;
  }
}

Forest parse_ensemble(const EvalContext& c) {
  const Attrs& a = c.attrs();
  Forest f;
  const Dims &features = a.integers("nodes_featureids"), &yes = a.integers("nodes_truenodeids");
  const Dims &no = a.integers("nodes_falsenodeids"), &yes_leaf = a.integers("nodes_trueleafs");
  const Dims &no_leaf = a.integers("nodes_falseleafs"), &targets = a.integers("leaf_targetids");
  const Dims missing = a.integers("nodes_missing_value_tracks_true", {});
  const auto modes = tensor_values(c, "nodes_modes"), splits = tensor_values(c, "nodes_splits");
  const auto weights = tensor_values(c, "leaf_weights");
  const size_t n = features.size(), leaves = targets.size();
  require_length(yes.size(), n, "nodes_truenodeids");
  require_length(no.size(), n, "nodes_falsenodeids");
  require_length(yes_leaf.size(), n, "nodes_trueleafs");
  require_length(no_leaf.size(), n, "nodes_falseleafs");
  require_length(modes.size(), n, "nodes_modes");
  require_length(splits.size(), n, "nodes_splits");
  require_length(weights.size(), leaves, "leaf_weights");
  if (!missing.empty()) require_length(missing.size(), n, "nodes_missing_value_tracks_true");
  f.nodes.resize(n + leaves);
  for (size_t i = 0; i < n; ++i) {
    TreeNode& t = f.nodes[i];
    if (!(modes[i] >= 0 && modes[i] <= 6)) broken("mode " + std::to_string(modes[i]));
    t.mode = static_cast<Mode>(static_cast<int>(modes[i]));
    t.feature = features[i];
    t.split = splits[i];
    t.missing_is_true = !missing.empty() && missing[i] != 0;
    t.yes = child(yes[i], yes_leaf[i], n, leaves);
    t.no = child(no[i], no_leaf[i], n, leaves);
  }
  for (size_t i = 0; i < leaves; ++i) f.nodes[n + i].votes.push_back({targets[i], weights[i]});
  add_members(c, f);
  for (int64_t root : a.integers("tree_roots")) f.roots.push_back(child(root, 0, n, leaves));
  f.targets = target_count(a);
  const int64_t aggregate = a.integer("aggregate_function", 1);
  if (aggregate < 0 || aggregate > 3) broken("attribute aggregate_function is " + std::to_string(aggregate));
  f.aggregate = static_cast<Aggregate>(aggregate);
  return f;
}

void eval_ensemble(EvalContext& c) {
  const int64_t post = c.attrs().integer("post_transform", 0);
  if (post < 0 || post > 4) throw Error(Code::invalid, "attribute post_transform is " + std::to_string(post));
  const Forest f = parse_ensemble(c);
  c.out(0, cast_tensor(c, regress(c, f, static_cast<PostTransform>(post)), c.in(0).dtype()));
}

// A walk compares about once a level; the depth is taken as the logarithm of the nodes per tree.
template <bool kPairs>
Work work_trees(const Node& node, std::span<const Fact> in, std::span<const Fact>) {
  const Dims none;
  const int64_t rows = in[0].rank() == 2 ? in[0].dims[0].value() : 1;
  const auto nodes = node.attrs.integers("nodes_featureids", none).size();
  size_t trees = node.attrs.integers("tree_roots", none).size();
  if (kPairs) {
    const Dims ids = node.attrs.integers("nodes_treeids", none);
    for (size_t i = 0; i < ids.size(); ++i) trees += i == 0 || ids[i] != ids[i - 1];
  }
  trees = std::max<size_t>(1, std::min(trees, nodes));
  const double depth = std::log2(1 + static_cast<double>(nodes) / static_cast<double>(trees));
  return {.flops =
              static_cast<int64_t>(static_cast<double>(rows) * static_cast<double>(trees) * (depth + 1))};
}

constexpr OpDef kOps[] = {
    ml_row("TreeEnsembleRegressor", infer_regressor, eval_regressor, work_trees<true>),
    ml_row("TreeEnsembleClassifier", infer_classifier, eval_classifier, work_trees<true>, 2),
    ml_row("TreeEnsemble", infer_ensemble, eval_ensemble, work_trees<false>),
};

}  // namespace

std::span<const OpDef> ml_tree_ops() {
  return kOps;
}

}  // namespace skyline::ops
