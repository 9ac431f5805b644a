#include "weights_gradient.h"

#include "convolution.h"
#include "passes.h"

namespace paceline {
namespace {

using namespace winograd;

constexpr int64_t PRODUCT_STRIDE = CELL + 16;  // of a position, no power of two
constexpr int TILES = 8;  // of a strip: enough products for a transform of their sum

// Winograd's products are counted for a forward pass, which has as many.
bool is_winograd(const MicroKernel& micro_kernel, const Shape& shape) {
  Sides sides = forward_sides(shape);
  sides.keeps_squares = false;
  return sides.is_winograd(micro_kernel);
}

int rows_of_strip(const Shape& shape, bool transforms, int tile_columns) {
  if (!transforms) return strip_rows(shape, int64_t(shape.width) * (shape.in_blocks() + 1) * CELL * sizeof(bf16));
  const int tile_rows = std::max(TILES / tile_columns, 1);
  return std::clamp(tile_rows * TILE / shape.window_height, 1, shape.pooled_height());
}

}  // namespace

WeightsGradient::WeightsGradient(const MicroKernel& micro_kernel, const Shape& shape)
    : micro_kernel(micro_kernel), shape(shape), transforms(is_winograd(micro_kernel, shape)),
      columns(Cut::with_fewest_positions(shape.seen_width())), strip(rows_of_strip(shape, transforms, columns.count())) {
  bottom = strip * shape.window_height;  // a whole strip, for the sizes below
  if (!transforms) {
    of_outputs = scratch<bf16>(int64_t(bottom) * shape.seen_width() * CELL);
    return;
  }
  segments.resize(rows().count());
  of_source = scratch<bf16>(shape.in_blocks() * POSITIONS * position_stride());
  of_outputs = scratch<bf16>(POSITIONS * position_stride());
  products = scratch<float>(POSITIONS * PRODUCT_STRIDE);
}

void WeightsGradient::begin(const bf16* cells, int first_row, int beyond, int image_count) {
  source = cells, top = first_row, bottom = beyond, images = image_count;
  if (!transforms) return;
  const int64_t pixels = int64_t(shape.height) * shape.width;
  bf16* to = of_source.get();
  for (int block = 0; block < shape.in_blocks(); block++, to += POSITIONS * position_stride())
    for (int tile = 0; tile < tiles(); tile++)
      transform_input(source + block * pixels * CELL, shape.height, shape.width, CELL, top + rows().start(tile / columns.count()),
                      columns.start(tile % columns.count()), channels_in(shape.inputs, block) * 32, to + tile * CELL,
                      position_stride());
}

void WeightsGradient::compute(const bf16* output_gradient, int block, bool add, float* gradient) {
  if (!transforms) return multiply_taps(add, gradient);
  transform_outputs(output_gradient, block);
  multiply_positions(add, gradient);
}

void WeightsGradient::transform_outputs(const bf16* output_gradient, int block) {
  for (int tile = 0; tile < tiles(); tile++) {
    const int row = tile / columns.count(), column = tile % columns.count();
    const Patch<TILE> patch(output_gradient + block * CELL, shape.seen_width(), shape.out_blocks() * CELL, top + rows().start(row),
                            columns.start(column), top + rows().end(row), columns.end(column));
    for (int pair = 0; pair < (images + 1) / 2; pair++) {
      Row even[SIDE][SIDE];
      transform<OutputTransposed>([&](int y, int x) { return patch.at(y, x, pair * 64); },
                                  [&](int y, int x, const Floats& value) { even[y][x] = value.rounded(); });
      transform<OutputTransposed>([&](int y, int x) { return patch.at(y, x, pair * 64 + 32); },
                                  [&](int y, int x, const Floats& value) {
                                    bf16* const cell = of_outputs.get() + (y * SIDE + x) * position_stride() + tile * CELL;
                                    store_pair(cell, pair, even[y][x], value.rounded());
                                  });
    }
  }
}

void WeightsGradient::multiply_positions(bool add, float* gradient) {
  const int pairs = (images + 1) / 2;
  for (int block = 0; block < shape.in_blocks(); block++) {
    const int inputs = channels_in(shape.inputs, block);
    for (int position = 0; position < POSITIONS; position++) {
      // the last position is zero in tiles that are not whole
      const int tile_rows = position / SIDE == SIDE - 1 ? rows().whole : rows().count();
      const int tile_columns = position % SIDE == SIDE - 1 ? columns.whole : columns.count();
      const bf16* a = of_source.get() + (int64_t(block) * POSITIONS + position) * position_stride();
      const bf16* b = of_outputs.get() + position * position_stride();
      for (int row = 0; row < tile_rows; row++)
        segments[row] = {a + int64_t(row) * columns.count() * CELL, b + int64_t(row) * columns.count() * CELL, tile_columns};
      micro_kernel.multiply(segments.data(), tile_rows, inputs, pairs, false, products.get() + position * PRODUCT_STRIDE);
    }
    for (int at = 0; at < inputs * 32; at += 16)
      transform<WeightsTransposed>(
          [&](int i, int j) { return load(products.get() + (i * SIDE + j) * PRODUCT_STRIDE + at); },
          [&](int i, int j, Vector value) {
            float* const to = gradient + (block * shape.taps() + i * WEIGHTS + j) * CELL + at;
            store(to, add ? value + load(to) : value);
          });
  }
}

void WeightsGradient::multiply_taps(bool add, float* gradient) {
  const int64_t source_pixels = int64_t(shape.height) * shape.width;
  const int width = shape.seen_width(), pairs_of_images = (images + 1) / 2;
  Segment segments[256];
  for (int block = 0; block < shape.in_blocks(); block++)
    for (int tap = 0; tap < shape.taps(); tap++, gradient += CELL) {
      const int dy = tap / shape.kernel - shape.border(), dx = tap % shape.kernel - shape.border();
      const int left = std::max(0, -dx), right = std::min(width, shape.width - dx);
      int count = 0;
      bool adds = add;
      auto multiply = [&] {
        micro_kernel.multiply(segments, count, channels_in(shape.inputs, block), pairs_of_images, adds, gradient);
        count = 0, adds = true;
      };
      for (int y = std::max(top, -dy); y < std::min(bottom, shape.height - dy) && left < right; y++) {
        segments[count++] = {source + (block * source_pixels + int64_t(y + dy) * shape.width + left + dx) * CELL,
                             pairs() + (int64_t(y - top) * width + left) * CELL, right - left};
        if (count == 256) multiply();
      }
      // the next tap's sums: of many channels they are larger than the second-level cache
      for (int64_t at = 0; at < CELL; at += 16) prefetch(gradient + CELL + at);
      if (count || !adds) multiply();
    }
}

}  // namespace paceline
