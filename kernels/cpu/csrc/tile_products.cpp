#include "tile_products.h"

#include "passes.h"

namespace paceline {
namespace {

// The taps around (y, x) that lie inside an image of height x width pixels, a segment for each row of the kernel. There
// are no products with a border of zeros. in: cells [height][width][blocks]; weights: cells [tap][blocks].
int segments_around(const bf16* in, const Sides& sides, int blocks, const bf16* weights, int y, int x, Segment* segments) {
  const int kernel = sides.kernel, border = kernel / 2;
  const int left = std::max(0, border - x), right = std::min(kernel, sides.width + border - x);
  int count = 0;
  for (int tap = std::max(0, border - y); tap < std::min(kernel, sides.height + border - y) && left < right; tap++)
    segments[count++] = {in + ((int64_t(y) + tap - border) * sides.width + x + left - border) * blocks * CELL,
                         weights + (int64_t(tap) * kernel + left) * blocks * CELL, (right - left) * blocks};
  return count;
}

// How many of the taps lie inside, summed over the outputs along one side.
int taps_inside(int side, int out_side, int kernel) {
  int count = 0;
  for (int at = 0; at < out_side; at++) count += std::min(kernel, side + kernel / 2 - at) - std::max(0, kernel / 2 - at);
  return count;
}

// Rows of pixels that the second-level cache holds.
int rows_in_cache(const Sides& sides, int blocks) {
  return int(cached_bytes() / (int64_t(sides.width) * blocks * CELL * int64_t(sizeof(bf16))));
}

Cut cut_of(int out_side, bool transforms, bool keeps_squares) {
  if (!transforms) return Cut::regular(out_side, keeps_squares ? 2 : 1);
  return keeps_squares ? Cut::regular(out_side, winograd::TILE) : Cut::with_fewest_positions(out_side);
}

}  // namespace

bool Sides::is_winograd(const MicroKernel& micro_kernel) const {
  if (kernel != winograd::WEIGHTS || !micro_kernel.winograd_images) return false;
  const int products = cut_of(out_height, true, keeps_squares).positions() * cut_of(out_width, true, keeps_squares).positions();
  return products * 5 < taps_inside(height, out_height, kernel) * taps_inside(width, out_width, kernel) * 4;
}

TileProducts::TileProducts(const MicroKernel& micro_kernel, const Sides& sides, int channels)
    : micro_kernel(micro_kernel), sides(sides), blocks((channels + 31) / 32),
      pairs(channels < 32 ? (channels + 1) / 2 : 16), transforms(sides.is_winograd(micro_kernel)),
      rows(cut_of(sides.out_height, transforms, sides.keeps_squares)),
      columns(cut_of(sides.out_width, transforms, sides.keeps_squares)),
      row_count(transforms ? 1 : std::clamp(rows_in_cache(sides, blocks) / rows.tile, 1, rows.count())),
      at_once(transforms ? std::clamp(8 / blocks, 1, columns.count()) : columns.count()),
      group(transforms && blocks == 1 ? micro_kernel.winograd_images : 32),
      position_stride(blocks * CELL + 32),  // not a power of two, so that the positions do not evict one another
      column_stride(winograd::POSITIONS * position_stride), product_stride(group * 32 + 16),
      transformed(scratch<bf16>(transforms ? at_once * column_stride : 0)),
      products(scratch<float>(transforms ? winograd::POSITIONS * product_stride : 0)),
      sums(scratch<float>(rows.tile * columns.tile * product_stride)) {}

void TileProducts::prepare(const bf16* cells, int tile_row, int column, int image_count) {
  in = cells, images = image_count, first_column = column;
  if (!transforms) return;
  bf16* to = transformed.get();
  for (const int beyond = std::min(column + at_once, tile_columns()); column < beyond; column++, to += column_stride)
    for (int block = 0; block < blocks; block++)
      winograd::transform_input(in + block * CELL, sides.height, sides.width, blocks * CELL, rows.start(tile_row),
                                columns.start(column), images * 32, to + block * CELL, position_stride);
}

void TileProducts::compute(const bf16* weights, int tile_row, int column, int first) {
  if (!transforms) {
    Segment segments[LARGEST_KERNEL];
    for_each_pixel(tile_row, column, [&](int y, int x, float* to) {
      const int count = segments_around(in, sides, blocks, weights, y, x, segments);
      micro_kernel.multiply(segments, count, images, pairs, false, to);
    });
    return;
  }
  using namespace winograd;
  const int count = std::min(group, images - first);
  const bf16* from = transformed.get() + (column - first_column) * column_stride + first * 32;
  for (int i = 0; i < rows.positions(tile_row); i++)
    for (int j = 0; j < columns.positions(column); j++) {
      const int position = i * SIDE + j;
      const Segment segment{from + position * position_stride, weights + int64_t(position) * blocks * CELL, blocks};
      micro_kernel.multiply(&segment, 1, count, pairs, false, products.get() + position * product_stride);
    }
  for (int at = 0; at < count * 32; at += 16)
    transform<Output>([&](int y, int x) { return load(products.get() + (y * SIDE + x) * product_stride + at); },
                      [&](int y, int x, Vector value) { store(sums.get() + (y * TILE + x) * product_stride + at, value); });
}

}  // namespace paceline
