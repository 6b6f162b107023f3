// Operators of object detection: NonMaxSuppression, RoiAlign, MaxRoiPool.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "graph/ops/families.h"
#include "graph/ops/move.h"

namespace skyline::ops {
namespace {

// ---- NonMaxSuppression
// -------------------------------------------------------------------------------------------

struct Box {
  double x0, y0, x1, y1;
  double area() const { return (x1 - x0) * (y1 - y0); }
};

Box box_at(const double* p, bool center) {
  if (center) return {p[0] - p[2] / 2, p[1] - p[3] / 2, p[0] + p[2] / 2, p[1] + p[3] / 2};
  return {std::min(p[1], p[3]), std::min(p[0], p[2]), std::max(p[1], p[3]), std::max(p[0], p[2])};
}

double overlap(const Box& a, const Box& b) {
  const double w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0),
               h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (!(w > 0 && h > 0)) return 0;
  const double both = w * h, either = a.area() + b.area() - both;
  return a.area() > 0 && b.area() > 0 && either > 0 ? both / either : 0;
}

void infer_nms(InferContext& c) {
  c.out(0, Fact(DType::i64, {Dim::unknown(), 3}));
}

void eval_nms(EvalContext& c) {
  const Tensor &boxes = c.in(0), &scores = c.in(1);
  require_rank(boxes, 3, "boxes");
  require_rank(scores, 3, "scores");
  if (boxes.dim(2) != 4 || scores.dim(0) != boxes.dim(0) || scores.dim(2) != boxes.dim(1)) {
    fail("boxes " + to_string(boxes.dims()) + " and scores " + to_string(scores.dims()) + " do not fit");
  }
  const int64_t mode = c.attrs().integer("center_point_box", 0);
  if (mode != 0 && mode != 1) fail("center_point_box is " + str(mode));
  const int64_t most = c.has(2) && c.in(2).size() > 0
                           ? std::max<int64_t>(0, one_int(c.in(2), "max_output_boxes_per_class"))
                           : 0;
  const double iou = c.has(3) && c.in(3).size() > 0 ? one_real(c.in(3), "iou_threshold") : 0;
  if (!(iou >= 0 && iou <= 1)) fail("iou_threshold is " + std::to_string(iou));
  const double least = c.has(4) && c.in(4).size() > 0 ? one_real(c.in(4), "score_threshold")
                                                      : -std::numeric_limits<double>::infinity();
  const bool filter = c.has(4) && c.in(4).size() > 0;
  const std::vector<double> box = to_doubles(boxes), score = to_doubles(scores);
  const int64_t classes = scores.dim(1), n = boxes.dim(1);
  Dims found;  // triples
  for (int64_t batch = 0; batch < boxes.dim(0); ++batch) {
    std::vector<Box> all;
    for (int64_t i = 0; i < n; ++i)
      all.push_back(box_at(&box[static_cast<size_t>((batch * n + i) * 4)], mode == 1));
    for (int64_t k = 0; k < classes; ++k) {
      if (c.limits.check) c.limits.check();
      const double* s = score.data() + (batch * classes + k) * n;
      Dims order;
      for (int64_t i = 0; i < n; ++i) {
        if (s[i] == s[i] && (!filter || s[i] > least)) order.push_back(i);  // NaN never wins
      }
      std::stable_sort(order.begin(), order.end(), [s](int64_t a, int64_t b) { return s[a] > s[b]; });
      std::vector<Box> kept;
      for (int64_t i : order) {
        if (static_cast<int64_t>(kept.size()) >= most) break;
        const Box& b = all[static_cast<size_t>(i)];
        if (std::any_of(kept.begin(), kept.end(), [&](const Box& other) { return overlap(b, other) > iou; }))
          continue;
        kept.push_back(b);
        found.insert(found.end(), {batch, k, i});
      }
    }
  }
  const auto rows = static_cast<int64_t>(found.size()) / 3;
  c.out(0, Tensor::of<int64_t>({rows, 3}, found));
}

// ---- RoiAlign
// ----------------------------------------------------------------------------------------------------

int64_t output_size(const Attrs& attrs, const char* name) {
  const int64_t n = attrs.integer(name, 1);
  if (n < 1 || n > (1 << 20)) fail(std::string(name) + " is " + str(n));
  return n;
}

void infer_roi_align(InferContext& c) {
  const Fact &x = c.in(0), &rois = c.in(1);
  if (x.ranked && x.rank() != 4) fail("input has rank " + str(x.rank()) + ", expected 4");
  const Dim n = rois.ranked && rois.rank() == 2 ? rois.dims[0] : Dim::unknown();
  c.out(0, Fact(x.dtype, {n, x.ranked ? x.dims[1] : Dim::unknown(), output_size(c.attrs(), "output_height"),
                          output_size(c.attrs(), "output_width")}));
}

// The four neighbours of a point, as the four products of weight and pixel.
struct Corners {
  double v[4] = {};
  double sum() const { return v[0] + v[1] + v[2] + v[3]; }
  double max() const { return std::max({v[0], v[1], v[2], v[3]}); }
};
Corners corners(const double* image, int64_t h, int64_t w, double y, double x) {
  if (y < -1 || y > static_cast<double>(h) || x < -1 || x > static_cast<double>(w)) return {};
  y = std::clamp(y, 0.0, static_cast<double>(h - 1));
  x = std::clamp(x, 0.0, static_cast<double>(w - 1));
  const auto y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
  const int64_t y1 = std::min(y0 + 1, h - 1), x1 = std::min(x0 + 1, w - 1);
  const double fy = y - static_cast<double>(y0), fx = x - static_cast<double>(x0);
  return {{(1 - fy) * (1 - fx) * image[y0 * w + x0], (1 - fy) * fx * image[y0 * w + x1],
           fy * (1 - fx) * image[y1 * w + x0], fy * fx * image[y1 * w + x1]}};
}

// One axis of a region of interest, divided into bins of `samples` points each.
struct Bins {
  double begin, size;
  int64_t samples;
  double at(int64_t bin, int64_t i) const {
    return begin +
           (static_cast<double>(bin) + (static_cast<double>(i) + 0.5) / static_cast<double>(samples)) * size;
  }
};
Bins bins(double begin, double end, int64_t count, int64_t ratio, bool half_pixel) {
  const double length = half_pixel ? end - begin : std::max(end - begin, 1.0);
  const double size = length / static_cast<double>(count),
               wanted = ratio > 0 ? static_cast<double>(ratio) : std::ceil(size);
  if (!(wanted < 1e5))
    throw Error(Code::limit, "a region of interest takes " + std::to_string(wanted) + " samples per bin");
  return {begin, size, std::max<int64_t>(0, static_cast<int64_t>(wanted))};
}

void eval_roi_align(EvalContext& c) {
  const Tensor &x = c.in(0), &rois = c.in(1);
  require_rank(x, 4, "input");
  require_rank(rois, 2, "rois");
  const Dims batch = c.ints(2);
  if (rois.dim(1) != 4 || static_cast<int64_t>(batch.size()) != rois.dim(0))
    fail("rois " + to_string(rois.dims()) + " and batch_indices " + to_string(c.in(2).dims()) +
         " do not fit");
  for (int64_t b : batch) {
    if (b < 0 || b >= x.dim(0)) fail("batch index " + str(b) + " is outside [0, " + str(x.dim(0) - 1) + "]");
  }
  const std::string mode = c.attrs().text("mode", "avg"),
                    coordinates = c.attrs().text("coordinate_transformation_mode", "half_pixel");
  if (mode != "avg" && mode != "max") fail("mode is '" + mode + "', expected avg or max");
  if (coordinates != "half_pixel" && coordinates != "output_half_pixel")
    fail("coordinate_transformation_mode is '" + coordinates + "'");
  const bool half = coordinates == "half_pixel", average = mode == "avg";
  const int64_t rows = output_size(c.attrs(), "output_height"), cols = output_size(c.attrs(), "output_width");
  const int64_t ratio = c.attrs().integer("sampling_ratio", 0), h = x.dim(2), w = x.dim(3);
  if (ratio < 0) fail("sampling_ratio is " + str(ratio));
  const double scale = c.attrs().real("spatial_scale", 1.0f);
  Tensor y = c.make(x.dtype(), {rois.dim(0), x.dim(1), rows, cols});
  if (y.size() > 0 && (h == 0 || w == 0)) fail("input " + to_string(x.dims()) + " is empty");
  const std::vector<double> from = to_doubles(x), roi = to_doubles(rois);
  for (double v : roi) {
    if (!std::isfinite(v)) fail("a region of interest is not finite");
  }
  visit_type(y.dtype(), FloatTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (size_t r = 0; r < batch.size(); ++r) {
      if (c.limits.check) c.limits.check();
      const double* p = &roi[4 * r];
      const double shift = half ? 0.5 : 0;
      const Bins bx = bins(p[0] * scale - shift, p[2] * scale - shift, cols, ratio, half);
      const Bins by = bins(p[1] * scale - shift, p[3] * scale - shift, rows, ratio, half);
      for (int64_t ch = 0; ch < x.dim(1); ++ch) {
        const double* image = from.data() + (batch[r] * x.dim(1) + ch) * h * w;
        for (int64_t bin = 0; bin < rows * cols; ++bin) {
          double sum = 0, top = -std::numeric_limits<double>::infinity();
          for (int64_t i = 0; i < by.samples; ++i) {
            for (int64_t j = 0; j < bx.samples; ++j) {
              const Corners v = corners(image, h, w, by.at(bin / cols, i), bx.at(bin % cols, j));
              sum += v.sum();
              top = std::max(top, v.max());
            }
          }
          const int64_t count = by.samples * bx.samples;
          *out++ = narrow<T>(count == 0 ? 0.0 : average ? sum / static_cast<double>(count) : top);
        }
      }
    }
  });
  c.out(0, std::move(y));
}

Work roi_align_work(const Node& n, std::span<const Fact>, std::span<const Fact> out) {
  const int64_t ratio = std::max<int64_t>(2, n.attrs.integer("sampling_ratio", 0));
  return {.flops = 8 * ratio * ratio * out[0].elements()};
}

// ---- MaxRoiPool
// --------------------------------------------------------------------------------------------------

Dims pooled_shape(const Attrs& attrs) {
  const Dims shape = attrs.integers("pooled_shape");
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || shape[0] > (1 << 20) || shape[1] > (1 << 20)) {
    fail("pooled_shape is " + to_string(shape) + ", expected two positive numbers");
  }
  return shape;
}

void infer_max_roi_pool(InferContext& c) {
  const Fact &x = c.in(0), &rois = c.in(1);
  const Dims shape = pooled_shape(c.attrs());
  if (x.ranked && x.rank() != 4) fail("input has rank " + str(x.rank()) + ", expected 4");
  const Dim n = rois.ranked && rois.rank() == 2 ? rois.dims[0] : Dim::unknown();
  c.out(0, Fact(x.dtype, {n, x.ranked ? x.dims[1] : Dim::unknown(), shape[0], shape[1]}));
}

// The pixels [begin, end) of one bin of `count` along an axis of n pixels.
struct Range1 {
  int64_t begin, end;
};
Range1 bin_range(double first, double last, int64_t bin, int64_t count, int64_t n) {
  const double start = std::round(first),
               size = std::max(std::round(last) - start + 1, 1.0) / static_cast<double>(count);
  const double most = static_cast<double>(n), k = static_cast<double>(bin);
  return {static_cast<int64_t>(std::clamp(std::floor(k * size) + start, 0.0, most)),
          static_cast<int64_t>(std::clamp(std::ceil((k + 1) * size) + start, 0.0, most))};
}

void eval_max_roi_pool(EvalContext& c) {
  const Tensor &x = c.in(0), &rois = c.in(1);
  require_rank(x, 4, "input");
  require_rank(rois, 2, "rois");
  if (rois.dim(1) != 5) fail("rois has shape " + to_string(rois.dims()) + ", expected [n,5]");
  const Dims shape = pooled_shape(c.attrs());
  const double scale = c.attrs().real("spatial_scale", 1.0f);
  const int64_t h = x.dim(2), w = x.dim(3);
  const std::vector<double> from = to_doubles(x), roi = to_doubles(rois);
  for (size_t i = 0; i < roi.size(); ++i) {
    if (!std::isfinite(roi[i])) fail("a region of interest is not finite");
    if (i % 5 == 0 && !(roi[i] >= 0 && roi[i] < static_cast<double>(x.dim(0))))
      fail("batch index " + std::to_string(roi[i]) + " is outside the batch");
  }
  Tensor y = c.make(x.dtype(), {rois.dim(0), x.dim(1), shape[0], shape[1]});
  visit_type(y.dtype(), FloatTypes{}, [&]<class T>() {
    T* out = y.mutable_data<T>();
    for (int64_t r = 0; r < rois.dim(0); ++r) {
      const double* p = &roi[static_cast<size_t>(5 * r)];
      for (int64_t ch = 0; ch < x.dim(1); ++ch) {
        const double* image = from.data() + (static_cast<int64_t>(p[0]) * x.dim(1) + ch) * h * w;
        for (int64_t bin = 0; bin < shape[0] * shape[1]; ++bin) {
          const Range1 ys = bin_range(p[2] * scale, p[4] * scale, bin / shape[1], shape[0], h);
          const Range1 xs = bin_range(p[1] * scale, p[3] * scale, bin % shape[1], shape[1], w);
          const bool empty = ys.end <= ys.begin || xs.end <= xs.begin;
          double top = empty ? 0 : -std::numeric_limits<double>::infinity();
          for (int64_t i = ys.begin; i < ys.end; ++i) {
            for (int64_t j = xs.begin; j < xs.end; ++j) top = std::max(top, image[i * w + j]);
          }
          *out++ = narrow<T>(top);
        }
      }
    }
  });
  c.out(0, std::move(y));
}

Work input_work(const Node&, std::span<const Fact> in, std::span<const Fact>) {
  return {.flops = in[0].elements()};
}

constexpr OpDef kOps[] = {
    {.name = "NonMaxSuppression",
     .min_inputs = 2,
     .max_inputs = 5,
     .infer = infer_nms,
     .eval = eval_nms,
     .work = input_work},
    {.name = "RoiAlign",
     .min_inputs = 3,
     .max_inputs = 3,
     .infer = infer_roi_align,
     .eval = eval_roi_align,
     .work = roi_align_work},
    {.name = "MaxRoiPool",
     .min_inputs = 2,
     .max_inputs = 2,
     .infer = infer_max_roi_pool,
     .eval = eval_max_roi_pool,
     .work = input_work},
};

}  // namespace

std::span<const OpDef> roi_ops() {
  return kOps;
}

}  // namespace skyline::ops
