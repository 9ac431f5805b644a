// Which products make up a pixel of a convolution, and how many rows of pixels are worked on at a time.
#pragma once
#include <unistd.h>

#include "layout.h"

namespace paceline {

constexpr int LARGEST_KERNEL = 15;

// The taps around (y, x) that lie inside an image of height x width pixels, a segment for each row of the kernel. There
// are no products with a border of zeros. in: cells [height][width][blocks]; weights: cells [tap][blocks].
inline int segments_around(const bf16* in, int height, int width, int blocks, int kernel, const bf16* weights, int y,
                           int x, Segment* segments) {
  const int border = kernel / 2, left = std::max(0, border - x), right = std::min(kernel, width + border - x);
  int count = 0;
  if (left >= right) return 0;
  for (int tap = std::max(0, border - y); tap < std::min(kernel, height + border - y); tap++)
    segments[count++] = {in + ((int64_t(y) + tap - border) * width + x + left - border) * blocks * CELL,
                         weights + (int64_t(tap) * kernel + left) * blocks * CELL, (right - left) * blocks};
  return count;
}

// Pairs of summed values of a cell that are not all zero, where it holds the last of so many channels.
inline int pairs_of(int channels) { return channels < 32 ? (channels + 1) / 2 : 16; }

// Rows of the pool's output for a strip, so that what is made for it, `bytes` a row, stays in the second-level cache.
inline int strip_rows(const Shape& shape, int64_t bytes) {
  static const int64_t cache = std::max<int64_t>(sysconf(_SC_LEVEL2_CACHE_SIZE), 1 << 20);
  int rows = shape.pooled_height();
  while (rows > 1 && rows * shape.window_height * bytes > cache * 3 / 4) rows = (rows + 1) / 2;
  return std::max(rows, 1);
}

// Sums of 32 channels over the images of cells, in registers.
struct ChannelSums {
  __m512 sum[2] = {all(0.f), all(0.f)};
  void add(__m512 first, __m512 last) { sum[0] = _mm512_add_ps(sum[0], first), sum[1] = _mm512_add_ps(sum[1], last); }
  void add_product(__m512 first, __m512 last, __m512 other_first, __m512 other_last) {
    sum[0] = _mm512_fmadd_ps(first, other_first, sum[0]), sum[1] = _mm512_fmadd_ps(last, other_last, sum[1]);
  }
  void add_to(float* total) const {
    for (int h = 0; h < 2; h++) _mm512_storeu_ps(total + h * 16, _mm512_add_ps(_mm512_loadu_ps(total + h * 16), sum[h]));
  }
};

}  // namespace paceline
