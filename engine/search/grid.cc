#include "engine/search/grid.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>

#include "skyline/serve.h"

namespace skyline {
namespace {

using Clock = std::chrono::steady_clock;

// What several streams or threads reach beyond so many times one: clocks and caches are not quite alike.
constexpr double kBeyondLinear = 1.1;
// A batch whose rate on one thread is so much below the best seen ends the growth.
constexpr double kFalls = 0.85;
constexpr int kFinalists = 3, kFinalTurns = 3;

class Grid {
 public:
  Grid(const std::function<Session(int)>& session_of, std::span<const Value> example, const GridOptions& o,
       const std::function<bool()>& stop)
      : session_of_(session_of), example_(example.begin(), example.end()), o_(o), stop_(stop) {}

  GridResult run() {
    start_ = Clock::now();
    std::vector<OperatingPoint> all = points();
    result_.points = all.size();
    if (o_.prune) {
      bounded(all);
    } else {
      for (const OperatingPoint& p : all) measure(p, 0);
    }
    finals();
    return std::move(result_);
  }

 private:
  std::vector<OperatingPoint> points() const {
    std::vector<OperatingPoint> out;
    for (int64_t b : o_.batches) {
      for (int s : o_.streams) {
        const OperatingPoint p{b, s, threads_per_stream(o_.threads, s)};
        if (std::find(out.begin(), out.end(), p) == out.end()) out.push_back(p);
      }
    }
    return out;
  }
  bool over() const {
    return (stop_ && stop_()) ||
           std::chrono::duration<double>(Clock::now() - start_).count() > o_.seconds_in_all;
  }
  const Session& session(int threads) {
    auto it = sessions_.find(threads);
    if (it == sessions_.end()) it = sessions_.emplace(threads, session_of_(threads)).first;
    return it->second;
  }

  serve::Load load_of(const OperatingPoint& p, double seconds) {
    const std::vector<Value> inputs = repeated(example_, p.batch);
    return serve::closed_loop(
        session(p.threads), inputs,
        {.streams = p.streams, .examples_each = p.batch, .seconds = seconds, .warmup = seconds / 10});
  }
  double measure(const OperatingPoint& p, double bound) {
    GridPoint g{p, load_of(p, o_.seconds), {}, bound};
    g.throughput = serve::throughput(g.load);
    result_.measured.push_back(std::move(g));
    return result_.measured.back().throughput.value;
  }

  // Rates of one thread by batch give the bounds of everything else.
  void bounded(std::vector<OperatingPoint>& all) {
    std::map<int64_t, double> rate;
    double most = 0;
    for (int64_t b : o_.batches) {
      if (rate.size() > 1 && over()) break;
      const double r = serve::throughput(load_of({b, 1, 1}, o_.seconds)).value;
      rate[b] = r;
      if (r < kFalls * most) break;
      most = std::max(most, r);
    }
    struct Bounded {
      OperatingPoint at;
      double bound;
    };
    std::vector<Bounded> order;
    for (const OperatingPoint& p : all) {
      const auto it = rate.find(p.batch);
      if (it == rate.end()) continue;
      const int used = std::min(p.streams * p.threads, std::max(o_.threads, 1));
      double bound = it->second * used * (used > 1 ? kBeyondLinear : 1.05);
      if (o_.peak > 0 && o_.work > 0) bound = std::min(bound, o_.peak / o_.work);
      order.push_back({p, bound});
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const Bounded& a, const Bounded& b) { return a.bound > b.bound; });
    double best = 0;
    for (const Bounded& b : order) {
      if (b.bound < best || (best > 0 && over())) break;
      best = std::max(best, measure(b.at, b.bound));
    }
  }

  static void best_first(std::vector<GridPoint>& points) {
    std::stable_sort(points.begin(), points.end(), [](const GridPoint& a, const GridPoint& b) {
      return a.throughput.value > b.throughput.value;
    });
  }

  // The best few in turns: what the machine does meanwhile meets all of them.
  void finals() {
    auto& points = result_.measured;
    best_first(points);
    const size_t n = std::min<size_t>(kFinalists, points.size());
    std::vector<std::vector<serve::Load>> loads(n);
    for (int turn = 0; turn < kFinalTurns && n > 1 && !over(); ++turn) {
      for (size_t i = 0; i < n; ++i) loads[i].push_back(load_of(points[i].at, o_.seconds));
    }
    for (size_t i = 0; i < n; ++i) {
      if (loads[i].empty()) continue;
      std::sort(loads[i].begin(), loads[i].end(), [](const serve::Load& a, const serve::Load& b) {
        return serve::throughput(a).value < serve::throughput(b).value;
      });
      points[i].load = loads[i][loads[i].size() / 2];
      points[i].throughput = serve::throughput(points[i].load);
    }
    std::stable_sort(
        points.begin(), points.begin() + static_cast<std::ptrdiff_t>(n),
        [](const GridPoint& a, const GridPoint& b) { return a.throughput.value > b.throughput.value; });
  }

  const std::function<Session(int)>& session_of_;
  std::vector<Value> example_;
  const GridOptions& o_;
  const std::function<bool()>& stop_;
  Clock::time_point start_;
  std::map<int, Session> sessions_;
  GridResult result_;
};

}  // namespace

std::vector<Value> repeated(std::span<const Value> example, int64_t batch) {
  std::vector<Value> out;
  for (const Value& v : example) {
    if (!v.is_tensor() || batch == 1) {
      out.push_back(v);
      continue;
    }
    const Tensor& one = v.tensor();
    Dims dims = one.dims();
    dims[0] *= batch;
    Tensor all(one.dtype(), dims);
    for (int64_t r = 0; r < batch; ++r)
      std::memcpy(static_cast<std::byte*>(all.mutable_raw()) + r * one.bytes(), one.raw(),
                  static_cast<size_t>(one.bytes()));
    out.emplace_back(std::move(all));
  }
  return out;
}

bool can_batch(const Session& session, std::span<const Value> example) {
  for (size_t i = 0; i < example.size(); ++i) {
    if (!example[i].is_tensor()) return false;
    const Tensor& t = example[i].tensor();
    const Fact& f = session.inputs()[i].fact;
    if (t.rank() == 0 || t.dim(0) == 0 || t.dtype() == DType::string) return false;
    if (!f.ranked || f.dims[0].known()) return false;
  }
  try {
    const std::vector<Value> one = session.run(example), two = session.run(repeated(example, 2));
    for (size_t i = 0; i < one.size(); ++i) {
      if (!one[i].is_tensor() || !two[i].is_tensor() || one[i].tensor().rank() == 0) return false;
      if (two[i].tensor().dim(0) != 2 * one[i].tensor().dim(0)) return false;
    }
  } catch (const Error&) {
    return false;  // an open axis that the model does not really leave open
  }
  return true;
}

GridResult search_grid(const std::function<Session(int threads)>& session_of, std::span<const Value> example,
                       const GridOptions& options, const std::function<bool()>& stop) {
  return Grid(session_of, example, options, stop).run();
}

}  // namespace skyline
