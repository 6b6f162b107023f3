#include "graph/ops/product.h"

#include "graph/ops/numeric.h"
#include "graph/ops/util.h"

namespace skyline::ops {

Product make_product(Dims a, Dims b) {
  if (a.empty() || b.empty()) reject("a factor is a scalar");
  const bool vector_a = a.size() == 1, vector_b = b.size() == 1;
  if (vector_a) a.insert(a.begin(), 1);
  if (vector_b) b.push_back(1);
  Product p;
  p.m = a[a.size() - 2];
  p.k = a.back();
  p.n = b.back();
  if (b[b.size() - 2] != p.k) reject("factors " + to_string(a) + " and " + to_string(b) + " do not match");
  const Dims a_batch(a.begin(), a.end() - 2), b_batch(b.begin(), b.end() - 2);
  p.batch = broadcast_dims(a_batch, b_batch);
  p.a_strides = broadcast_strides(a_batch, p.batch);
  p.b_strides = broadcast_strides(b_batch, p.batch);
  p.out = p.batch;
  if (!vector_a) p.out.push_back(p.m);
  if (!vector_b) p.out.push_back(p.n);
  return p;
}

}  // namespace skyline::ops
