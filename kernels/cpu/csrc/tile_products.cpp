#include "tile_products.h"

namespace paceline {
namespace {

// The taps around (y, x) that lie inside an image of height x width pixels, a segment for each row of the kernel. There
// are no products with a border of zeros. in: cells [height][width][blocks]; weights: cells [tap][blocks].
int segments_around(const bf16* in, int height, int width, int blocks, int kernel, const bf16* weights, int y, int x,
                    Segment* segments) {
  const int border = kernel / 2, left = std::max(0, border - x), right = std::min(kernel, width + border - x);
  int count = 0;
  for (int tap = std::max(0, border - y); tap < std::min(kernel, height + border - y) && left < right; tap++)
    segments[count++] = {in + ((int64_t(y) + tap - border) * width + x + left - border) * blocks * CELL,
                         weights + (int64_t(tap) * kernel + left) * blocks * CELL, (right - left) * blocks};
  return count;
}

// How many of the taps lie inside, summed over the outputs along one side.
int taps_inside(int side, int out_side, int kernel) {
  int count = 0;
  for (int at = 0; at < out_side; at++) count += std::min(kernel, side + kernel / 2 - at) - std::max(0, kernel / 2 - at);
  return count;
}

// d: 4 x 4 pixels of 16 values, transformed in place.
inline void transform_input(__m512 (&d)[4][4]) {
  for (int i = 0; i < 4; i++) {
    const __m512 a = d[0][i], b = d[1][i], c = d[2][i], e = d[3][i];
    d[0][i] = _mm512_sub_ps(a, c), d[1][i] = _mm512_add_ps(b, c), d[2][i] = _mm512_sub_ps(c, b), d[3][i] = _mm512_sub_ps(b, e);
  }
  for (int i = 0; i < 4; i++) {
    const __m512 a = d[i][0], b = d[i][1], c = d[i][2], e = d[i][3];
    d[i][0] = _mm512_sub_ps(a, c), d[i][1] = _mm512_add_ps(b, c), d[i][2] = _mm512_sub_ps(c, b), d[i][3] = _mm512_sub_ps(b, e);
  }
}

constexpr int GROUP = 8;  // images whose 16 products are transformed together, while they are in the first-level cache

}  // namespace

bool TileProducts::is_winograd(const MicroKernel& micro_kernel, int height, int width, int out_height, int out_width, int kernel) {
  if (kernel != 3 || !micro_kernel.prefers_winograd) return false;
  const int products = POSITIONS * ((out_height + 1) / 2) * ((out_width + 1) / 2);
  return products * 5 < taps_inside(height, out_height, 3) * taps_inside(width, out_width, 3) * 4;
}

TileProducts::TileProducts(const MicroKernel& micro_kernel, int height, int width, int channels, int out_height,
                           int out_width, int kernel)
    : micro_kernel(micro_kernel), height(height), width(width), blocks((channels + 31) / 32),
      pairs(channels < 32 ? (channels + 1) / 2 : 16), out_height(out_height), out_width(out_width), kernel(kernel),
      winograd(is_winograd(micro_kernel, height, width, out_height, out_width, kernel)),
      at_once(winograd ? std::clamp(8 / blocks, 1, tile_columns()) : tile_columns()),
      position_stride(blocks * CELL + 32),  // not a power of two, so that the positions do not evict one another
      column_stride(POSITIONS * position_stride), transformed(scratch<bf16>(winograd ? at_once * column_stride : 0)) {}

void TileProducts::prepare(const bf16* cells, int tile_row, int column, int image_count) {
  in = cells, images = image_count, first_column = column;
  if (!winograd) return;
  alignas(64) static constexpr bf16 outside[CELL] = {};
  const int beyond = std::min(column + at_once, tile_columns());
  for (bf16* to = transformed.get(); column < beyond; column++, to += column_stride)
    for (int block = 0; block < blocks; block++) {
      const bf16* from[4][4];
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
          const int y = 2 * tile_row + i - 1, x = 2 * column + j - 1;
          const bool is_inside = y >= 0 && y < height && x >= 0 && x < width;
          from[i][j] = is_inside ? in + ((int64_t(y) * width + x) * blocks + block) * CELL : outside;
        }
      for (int at = 0; at < images * 32; at += 32) {  // whole cache lines
        __m512 first[4][4], last[4][4];
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < 4; j++) first[i][j] = low(_mm512_load_si512(from[i][j] + at));
        transform_input(first);
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < 4; j++) last[i][j] = high(_mm512_load_si512(from[i][j] + at));
        transform_input(last);
        for (int i = 0; i < 4; i++)
          for (int j = 0; j < 4; j++)
            _mm512_store_si512(to + (i * 4 + j) * position_stride + block * CELL + at, pack(first[i][j], last[i][j]));
      }
    }
}

void TileProducts::compute(const bf16* weights, int tile_row, int column, float* sums) const {
  if (!winograd) {
    Segment segments[LARGEST_KERNEL];
    for (int j = 0; j < 4; j++) {
      if (!has(tile_row, column, j)) continue;
      const int count = segments_around(in, height, width, blocks, kernel, weights, 2 * tile_row + j / 2, 2 * column + j % 2, segments);
      micro_kernel.multiply(segments, count, images, pairs, false, sums + j * CELL);
    }
    return;
  }
  alignas(64) float products[POSITIONS][GROUP * 32];
  for (int first = 0; first < images; first += GROUP) {
    for (int position = 0; position < POSITIONS; position++) {
      const Segment segment{transformed.get() + (column - first_column) * column_stride + position * position_stride + first * 32,
                            weights + int64_t(position) * blocks * CELL, blocks};
      micro_kernel.multiply(&segment, 1, GROUP, pairs, false, products[position]);
    }
    for (int at = 0; at < GROUP * 32; at += 16) {
      __m512 t[2][4];
      for (int j = 0; j < 4; j++) {
        const __m512 a = _mm512_load_ps(products[j] + at), b = _mm512_load_ps(products[4 + j] + at);
        const __m512 c = _mm512_load_ps(products[8 + j] + at), d = _mm512_load_ps(products[12 + j] + at);
        t[0][j] = _mm512_add_ps(_mm512_add_ps(a, b), c), t[1][j] = _mm512_sub_ps(_mm512_sub_ps(b, c), d);
      }
      float* to = sums + first * 32 + at;
      for (int i = 0; i < 2; i++, to += 2 * CELL) {
        _mm512_store_ps(to, _mm512_add_ps(_mm512_add_ps(t[i][0], t[i][1]), t[i][2]));
        _mm512_store_ps(to + CELL, _mm512_sub_ps(_mm512_sub_ps(t[i][1], t[i][2]), t[i][3]));
      }
    }
  }
}

}  // namespace paceline
