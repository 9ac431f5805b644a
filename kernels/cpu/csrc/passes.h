// What the passes share.
#pragma once
#include <unistd.h>

#include "layout.h"

namespace paceline {

// Bytes that stay in the second-level cache beside what streams through it.
inline int64_t cached_bytes() {
  static const int64_t cache = std::max<int64_t>(sysconf(_SC_LEVEL2_CACHE_SIZE), 1 << 20);
  return cache * 3 / 4;
}

// Rows of the pool's output for a strip, so that what is made for it, `bytes` a row, stays in the second-level cache.
inline int strip_rows(const Shape& shape, int64_t bytes) {
  int rows = shape.pooled_height();
  while (rows > 1 && rows * shape.window_height * bytes > cached_bytes()) rows = (rows + 1) / 2;
  return std::max(rows, 1);
}

// Sums of 32 channels over the images of cells, in registers.
struct ChannelSums {
  Vector sum[2] = {all(0.f), all(0.f)};
  void add(Vector first, Vector last) { sum[0] = sum[0] + first, sum[1] = sum[1] + last; }
  void add_product(Vector first, Vector last, Vector other_first, Vector other_last) {
    sum[0] = fma(first, other_first, sum[0]), sum[1] = fma(last, other_last, sum[1]);
  }
  void add_to(float* total) const {
    for (int h = 0; h < 2; h++) store_unaligned(total + h * 16, load_unaligned(total + h * 16) + sum[h]);
  }
};

}  // namespace paceline
