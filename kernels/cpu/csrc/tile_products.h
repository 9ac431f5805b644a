// The output of a convolution by tiles of pixels: 4 x 4 by Winograd's minimal filtering; tap by tap 2 x 2 where squares
// are pooled, else one.
#pragma once
#include "cut.h"
#include "layout.h"
#include "parallel.h"

namespace paceline {

constexpr int LARGEST_KERNEL = 15;

// A convolution of images of height x width pixels to out_height x out_width pixels in the upper left corner.
struct Sides {
  int height, width, out_height, out_width, kernel;
  bool keeps_squares;  // squares of 2 x 2 outputs lie in one tile

  // Whether Winograd's are clearly the fewer products, so that the weights have to be transformed: (outputs, positions,
  // inputs) in place of (outputs, taps, inputs).
  bool is_winograd(const MicroKernel& micro_kernel) const;
};

class TileProducts {
 public:
  TileProducts(const MicroKernel& micro_kernel, const Sides& sides, int channels);

  int tile_rows() const { return rows.count(); }
  int tile_columns() const { return columns.count(); }
  // Rows of the input that a row of tiles needs, from the top.
  int rows_for(int tile_row) const { return std::min(rows.end(tile_row) + sides.kernel / 2, sides.height); }

  // Whether the products are those of the taps, without a transform.
  bool is_direct() const { return !transforms; }

  // As many rows and columns of tiles as are prepared together, and then stay in the second-level cache. A block of
  // weights is read once for all of them.
  int rows_at_once() const { return row_count; }
  int columns_at_once() const { return at_once; }
  // As many images as are computed together, so that their products stay in the first-level cache.
  int images_at_once() const { return group; }
  // Comes before `compute` of the tiles from row `tile_row` and column `column` on.
  // in: cells [height][width][blocks]; `images` of each cell's 32 are used.
  void prepare(const bf16* in, int tile_row, int column, int images);
  // One block of outputs, whose packed weights these are, for the images from `first` on that are computed together.
  void compute(const bf16* weights, int tile_row, int tile_column, int first);

  // What was computed: calls work(y, x, sums[image from `first` on][32 outputs]) for each pixel of the tile. The image's
  // first pixel comes first, its last pixel last.
  template <class Work>
  void for_each_pixel(int tile_row, int tile_column, Work work) const {
    for (int y = rows.start(tile_row); y < rows.end(tile_row); y++)
      for (int x = columns.start(tile_column); x < columns.end(tile_column); x++)
        work(y, x, sums_of(y - rows.start(tile_row), x - columns.start(tile_column)));
  }
  // The same for squares of 2 x 2 pixels from (y, x) on, where `keeps_squares`.
  template <class Work>
  void for_each_square(int tile_row, int tile_column, Work work) const {
    for (int y = rows.start(tile_row); y < rows.end(tile_row); y += 2)
      for (int x = columns.start(tile_column); x < columns.end(tile_column); x += 2) {
        const int i = y - rows.start(tile_row), j = x - columns.start(tile_column);
        work(y, x, {sums_of(i, j), sums_of(i, j + 1), sums_of(i + 1, j), sums_of(i + 1, j + 1)});
      }
  }

 private:
  float* sums_of(int y, int x) const { return sums.get() + (y * columns.tile + x) * product_stride; }

  const MicroKernel& micro_kernel;
  const Sides sides;
  const int blocks, pairs;
  const bool transforms;
  const Cut rows, columns;
  const int row_count, at_once, group;
  const int64_t position_stride, column_stride, product_stride;
  const bf16* in = nullptr;
  int first_column = 0, images = 0;
  std::unique_ptr<bf16[], Free<bf16>> transformed;  // cells [tile column][position][block]
  std::unique_ptr<float[], Free<float>> products;   // [position][image][32 outputs]
  std::unique_ptr<float[], Free<float>> sums;       // [pixel of the tile][image][32 outputs]
};

}  // namespace paceline
