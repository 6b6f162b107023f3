#pragma once
// Frontiers for tests.
#include <random>
#include <string>

#include "skyline/frontier.h"

namespace test {

// A measured point with intervals of `spread` (a share) around the values; latency in all statistics.
inline skyline::Point point(const std::string& id, double latency, double throughput, double accuracy,
                            double spread = 0) {
  skyline::Point p;
  p.id = id;
  p.state = skyline::PointState::measured;
  p.samples = 100;
  const auto around = [&](double x) { return skyline::Estimate{x, x * (1 - spread), x * (1 + spread)}; };
  for (auto& l : p.measured.latency) l = around(latency);
  p.measured.throughput = around(throughput);
  p.measured.accuracy = around(accuracy);
  p.measured.memory = skyline::Estimate::exactly(1e6);
  return p;
}

inline skyline::Frontier random_frontier(unsigned seed, size_t points) {
  std::mt19937 random(seed);
  const auto draw = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  skyline::Frontier f;
  f.info.model = "model \"x\", v2\n.onnx";
  f.info.model_sha1 = std::string(40, 'a');
  f.info.machine = {{"cpu", "some\tCPU"}, {"cpus", "2"}, {"os", "Linux"}};
  f.info.data = {"images", 100, 200, 300};
  f.info.ranges = {{"x", {-0.1, 2.5}}};
  f.info.means = {{"x", {0.1, 1.0 / 3, -0.05}}};
  f.info.seed = ~uint64_t{0};
  f.info.tool = "skyline 0.1.0";
  for (size_t i = 0; i < points; ++i) {
    skyline::Point p =
        point("p" + std::to_string(i), draw(1e-3, 1e-2), draw(100, 1000), draw(0.5, 0.7), draw(0, 0.1));
    p.batch = 1 + random() % 64;
    p.streams = 1 + static_cast<int>(random() % 4);
    p.threads = 1 + static_cast<int>(random() % 4);
    p.layouts = static_cast<skyline::LayoutPolicy>(random() % 4);
    p.measured.accuracy_drop = skyline::Estimate{0.7 - p.measured.accuracy->value, -0.1, 0.4};
    if (random() % 3 == 0) p.predicted = p.measured;
    if (random() % 4 == 0) {
      p.predicted = p.measured;
      p.measured = {};
      p.state = skyline::PointState::predicted;
    }
    p.provenance = "flip of conv_" + std::to_string(random() % 9) + ", \"quoted\"";
    for (int n = 0; n < 5; ++n) {
      p.choices.push_back({"conv_" + std::to_string(n), "Conv",
                           static_cast<skyline::Precision>(1 + random() % 6), "dense_amx", draw(0, 0.2),
                           draw(0, 1e-9), random() % 2 ? "stays f32: +0.31 pp for 0.2 ms" : "",
                           random() % 2 ? "channels_last" : ""});
    }
    f.points.push_back(p);
  }
  f.update_states();
  return f;
}

}  // namespace test
