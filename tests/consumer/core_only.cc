// A graph built by hand, run without the importer.
#include <skyline/skyline.h>

#include <cstdio>

int main() {
  skyline::Graph g;
  const auto x = g.add_input("x", skyline::Fact::fixed(skyline::DType::f32, {4}));
  const auto y = g.add_value("y");
  g.add_node("Relu", "relu", {x}, {y});
  g.add_output(y, "y");
  const skyline::Session session{skyline::Model(std::move(g))};
  const auto out = session.run({{"x", skyline::Tensor::of<float>({4}, {-1, 2, -3, 4})}}).at("y").tensor();
  const auto v = out.span<float>();
  std::printf("relu: %g %g %g %g\n", v[0], v[1], v[2], v[3]);
  return v[0] == 0 && v[1] == 2 && v[2] == 0 && v[3] == 4 ? 0 : 1;
}
