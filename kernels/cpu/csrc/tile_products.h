// The output of a convolution by tiles of 2 x 2 pixels, either tap by tap or by Winograd's minimal filtering.
//
// F(2x2, 3x3) of Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2016): 16 products for a tile in
// place of 36. The transforms are sums of a few cells, in float32. What is multiplied is rounded to bfloat16 after them,
// an error of the size of bfloat16's own.
#pragma once
#include "layout.h"
#include "parallel.h"

namespace paceline {

constexpr int LARGEST_KERNEL = 15;
constexpr int POSITIONS = 16;  // of a transformed tile

class TileProducts {
 public:
  // Of images of height x width pixels with so many channels, to out_height x out_width pixels in the upper left corner.
  TileProducts(const MicroKernel& micro_kernel, int height, int width, int channels, int out_height, int out_width, int kernel);

  // Whether the weights have to be transformed: (outputs, 16 positions, inputs) in place of (outputs, taps, inputs).
  static bool is_winograd(const MicroKernel& micro_kernel, int height, int width, int out_height, int out_width, int kernel);

  int tile_rows() const { return (out_height + 1) / 2; }
  int tile_columns() const { return (out_width + 1) / 2; }
  // Rows of the input that a row of tiles needs, from the top.
  int rows_for(int tile_row) const { return std::min(2 * tile_row + 2 + kernel / 2, height); }

  // As many columns of tiles as are prepared together, and then stay in the second-level cache.
  int columns_at_once() const { return at_once; }
  // Comes before `compute` of the tiles of a row from `column` on.
  // in: cells [height][width][blocks]; `images` of each cell's 32 are used.
  void prepare(const bf16* in, int tile_row, int column, int images);
  // sums[4 pixels][32 images][32 outputs] of a tile for one block of outputs, whose packed weights these are.
  void compute(const bf16* weights, int tile_row, int tile_column, float* sums) const;
  // Which of the tile's pixels exist.
  bool has(int tile_row, int tile_column, int pixel) const {
    return 2 * tile_row + pixel / 2 < out_height && 2 * tile_column + pixel % 2 < out_width;
  }

 private:
  const MicroKernel& micro_kernel;
  const int height, width, blocks, pairs, out_height, out_width, kernel;
  const bool winograd;
  const int at_once;
  const int64_t position_stride, column_stride;
  const bf16* in = nullptr;
  int first_column = 0, images = 0;
  std::unique_ptr<bf16[], Free<bf16>> transformed;  // cells [tile column][position][block]
};

}  // namespace paceline
