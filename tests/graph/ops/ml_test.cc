#include <limits>

#include "tests/graph/ops/run_op.h"

using namespace skyline;
using namespace skyline::test;

namespace {

constexpr const char* kMl = "ai.onnx.ml";
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Texts = std::vector<std::string>;
using Reals = std::vector<float>;

std::vector<Tensor> ml(std::string_view op, const std::vector<Tensor>& in, const Attrs& attrs,
                       size_t outputs = 1) {
  return run_op(op, in, attrs, outputs, kMl);
}
Code ml_fails(std::string_view op, const std::vector<Tensor>& in, const Attrs& attrs, size_t outputs = 1) {
  return fails(op, in, attrs, outputs, kMl);
}

// One tree: x[0] <= 1 ? leaf 1 : (x[1] > 2 ? leaf 3 : leaf 4).
Attrs tree() {
  return {{"nodes_treeids", Dims{0, 0, 0, 0, 0}},
          {"nodes_nodeids", Dims{0, 1, 2, 3, 4}},
          {"nodes_featureids", Dims{0, 0, 1, 0, 0}},
          {"nodes_modes", Texts{"BRANCH_LEQ", "LEAF", "BRANCH_GT", "LEAF", "LEAF"}},
          {"nodes_values", Reals{1, 0, 2, 0, 0}},
          {"nodes_truenodeids", Dims{1, 0, 3, 0, 0}},
          {"nodes_falsenodeids", Dims{2, 0, 4, 0, 0}},
          {"nodes_missing_value_tracks_true", Dims{1, 0, 0, 0, 0}}};
}

Attrs regressor() {
  Attrs a = tree();
  a.set("target_treeids", Dims{0, 0, 0});
  a.set("target_nodeids", Dims{1, 3, 4});
  a.set("target_ids", Dims{0, 0, 0});
  a.set("target_weights", Reals{10, 30, 40});
  return a;
}

const Tensor kRows = Tensor::of<float>({4, 2}, {1, 0, 2, 3, 2, 2, kNan, 0});

}  // namespace

TEST_CASE("tree regressor walks to its leaves, missing values included") {
  CHECK(values<float>(ml("TreeEnsembleRegressor", {kRows}, regressor())[0]) == Reals{10, 30, 40, 10});
  Attrs based = regressor();
  based.set("base_values", Reals{0.5f});
  CHECK(values<float>(ml("TreeEnsembleRegressor", {kRows}, based)[0])[1] == 30.5f);
}

TEST_CASE("broken trees are refused") {
  const auto with = [](std::string name, AttrValue v) {
    Attrs a = regressor();
    a.set(std::move(name), std::move(v));
    return ml_fails("TreeEnsembleRegressor", {kRows}, a);
  };
  CHECK(with("nodes_truenodeids", Dims{9, 0, 3, 0, 0}) == Code::invalid);  // no such node
  CHECK(with("nodes_truenodeids", Dims{0, 0, 0, 0, 0}) == Code::invalid);  // a cycle
  CHECK(with("nodes_featureids", Dims{2, 0, 1, 0, 0}) == Code::invalid);
  CHECK(with("nodes_featureids", Dims{-1, 0, 1, 0, 0}) == Code::invalid);
  CHECK(with("nodes_values", Reals{1}) == Code::invalid);
  CHECK(with("nodes_nodeids", Dims{0, 1, 2, 3, 3}) == Code::invalid);
  CHECK(with("nodes_modes", Texts{"BRANCH_SOME", "LEAF", "BRANCH_GT", "LEAF", "LEAF"}) == Code::invalid);
  CHECK(with("target_ids", Dims{0, 1, 0}) == Code::invalid);
  CHECK(with("target_nodeids", Dims{1, 3, 7}) == Code::invalid);
  CHECK(with("n_targets", int64_t{0}) == Code::invalid);
  CHECK(with("aggregate_function", std::string("MODE")) == Code::invalid);
  CHECK(with("post_transform", std::string("CUBE")) == Code::invalid);
}

TEST_CASE("tree classifiers: several classes, and two from one probability") {
  Attrs a = tree();
  a.set("class_treeids", Dims{0, 0, 0});
  a.set("class_nodeids", Dims{1, 3, 4});
  a.set("class_weights", Reals{0.25f, 0.75f, 1});
  a.set("class_ids", Dims{0, 0, 0});
  a.set("classlabels_strings", Texts{"no", "yes"});
  const auto two = ml("TreeEnsembleClassifier", {kRows}, a, 2);
  CHECK(values<std::string>(two[0]) == Texts{"no", "yes", "yes", "no"});
  CHECK(values<float>(two[1]) == Reals{0.75f, 0.25f, 0.25f, 0.75f, 0, 1, 0.75f, 0.25f});
  a.set("class_ids", Dims{2, 1, 0});
  a.erase("classlabels_strings");
  a.set("classlabels_int64s", Dims{7, 8, 9});
  const auto three = ml("TreeEnsembleClassifier", {kRows}, a, 2);
  CHECK(values<int64_t>(three[0]) == Dims{9, 8, 7, 9});
  CHECK(three[1].dims() == Dims{4, 3});
  a.set("classlabels_strings", Texts{"a"});
  CHECK(ml_fails("TreeEnsembleClassifier", {kRows}, a, 2) == Code::invalid);
}

TEST_CASE("label encoder: NaN keys, repeated keys, defaults, bad lists") {
  const Attrs nan{{"keys_floats", Reals{kNan, 1, 1}}, {"values_int64s", Dims{5, 6, 7}}};
  CHECK(values<int64_t>(ml("LabelEncoder", {vec<float>({1, -kNan, 3})}, nan)[0]) == Dims{7, 5, -1});
  const Attrs text{{"keys_strings", Texts{"a"}}, {"values_floats", Reals{2}}, {"default_float", 9.0f}};
  CHECK(values<float>(ml("LabelEncoder", {vec<std::string>({"a", "b"})}, text)[0]) == Reals{2, 9});
  CHECK(ml_fails("LabelEncoder", {vec<float>({1})}, text) == Code::invalid);
  CHECK(ml_fails("LabelEncoder", {vec<float>({1})}, {{"values_floats", Reals{2}}}) == Code::invalid);
  CHECK(ml_fails("LabelEncoder", {vec<float>({1})},
                 {{"keys_floats", Reals{2, 3}}, {"values_floats", Reals{2}}}) == Code::invalid);
}

TEST_CASE("feature operators") {
  const Tensor x = Tensor::of<float>({2, 2}, {1, 2, 4, 4});
  CHECK(values<float>(ml("Scaler", {x}, {{"offset", Reals{1, 2}}, {"scale", Reals{2, 3}}})[0]) ==
        Reals{0, 0, 6, 6});
  CHECK(ml_fails("Scaler", {x}, {{"offset", Reals{1, 2, 3}}}) == Code::invalid);
  CHECK(values<float>(ml("Normalizer", {x}, {{"norm", std::string("L1")}})[0])[2] == 0.5f);
  CHECK(ml_fails("Normalizer", {x}, {{"norm", std::string("L3")}}) == Code::invalid);
  CHECK(values<float>(ml("Binarizer", {x}, {{"threshold", 2.0f}})[0]) == Reals{0, 0, 1, 1});
  const Attrs impute{{"imputed_value_floats", Reals{8, 9}}, {"replaced_value_float", 4.0f}};
  CHECK(values<float>(ml("Imputer", {x}, impute)[0]) == Reals{1, 2, 8, 9});
  CHECK(ml_fails("Imputer", {x}, {{"replaced_value_float", 4.0f}}) == Code::invalid);
  CHECK(values<float>(ml("ArrayFeatureExtractor", {x, Tensor::vector({1})}, {})[0]) == Reals{2, 4});
  CHECK(ml_fails("ArrayFeatureExtractor", {x, Tensor::vector({2})}, {}) == Code::input);
  CHECK(ml_fails("ArrayFeatureExtractor", {x, Tensor::vector({std::numeric_limits<int64_t>::min()})}, {}) ==
        Code::input);
  CHECK(values<float>(ml("OneHotEncoder", {Tensor::vector({3, 5})}, {{"cats_int64s", Dims{4, 3}}})[0]) ==
        Reals{0, 1, 0, 0});
  CHECK(ml_fails("OneHotEncoder", {Tensor::vector({5})}, {{"cats_int64s", Dims{4}}, {"zeros", int64_t{0}}}) ==
        Code::input);
  CHECK(values<float>(ml("FeatureVectorizer", {x, x}, {{"inputdimensions", Dims{1, 3}}})[0]) ==
        Reals{1, 1, 2, 0, 4, 4, 4, 0});
  CHECK(ml_fails("FeatureVectorizer", {x}, {{"inputdimensions", Dims{-1}}}) == Code::invalid);
}

TEST_CASE("linear models and support vectors") {
  const Tensor x = Tensor::of<float>({2, 2}, {1, 2, -3, 1});
  CHECK(values<float>(
            ml("LinearRegressor", {x}, {{"coefficients", Reals{1, 1}}, {"intercepts", Reals{0.5f}}})[0]) ==
        Reals{3.5f, -1.5f});
  CHECK(ml_fails("LinearRegressor", {x}, {{"coefficients", Reals{1}}}) == Code::invalid);
  CHECK(ml_fails("LinearRegressor", {x}, {{"coefficients", Reals{1}}, {"targets", int64_t{1} << 62}}) ==
        Code::invalid);
  const Attrs classes{{"coefficients", Reals{1, 0, 0, 1}},
                      {"intercepts", Reals{0, 0}},
                      {"classlabels_ints", Dims{4, 5}},
                      {"post_transform", std::string("SOFTMAX")}};
  const auto y = ml("LinearClassifier", {x}, classes, 2);
  CHECK(values<int64_t>(y[0]) == Dims{5, 5});
  CHECK(values<float>(y[1])[0] == doctest::Approx(1 / (1 + std::exp(1.0))));
  const Attrs svm{{"coefficients", Reals{2}},          {"support_vectors", Reals{1, 2}},
                  {"n_supports", int64_t{1}},          {"rho", Reals{0.5f}},
                  {"kernel_type", std::string("RBF")}, {"kernel_params", Reals{0.1f, 0, 0}}};
  CHECK(values<float>(ml("SVMRegressor", {x}, svm)[0])[0] == 2.5f);
  CHECK(ml_fails("SVMRegressor", {x}, {{"coefficients", Reals{2}}, {"rho", Reals{0}}}) == Code::invalid);
}
