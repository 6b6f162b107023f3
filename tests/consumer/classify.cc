#include <skyline/skyline.h>

#include <algorithm>
#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const skyline::Session session(skyline::Model::load(argv[1]), {.threads = 1});
  const skyline::Tensor x = skyline::Tensor::zeros(skyline::DType::f32, {1, 1, 16, 16});
  const skyline::Tensor y =
      session.run({{session.inputs()[0].name, x}}).at(session.outputs()[0].name).tensor();
  const auto p = y.span<float>();
  float sum = 0;
  for (float v : p) sum += v;
  std::printf("class %d, probabilities sum to %.3f\n",
              static_cast<int>(std::max_element(p.begin(), p.end()) - p.begin()), sum);
  return p.size() == 10 && sum > 0.999f && sum < 1.001f ? 0 : 1;
}
