#include <cstring>

#include "convolution.h"
#include "parallel.h"
#include "passes.h"

namespace paceline {
namespace {

// Where a value takes the place of the maximum before it: NaN wins, as in PyTorch.
inline Lanes wins_over(Vector value, Vector maximum) { return either(is_greater(value, maximum), is_nan(value)); }

// best = max(best, values), and where it came from. At place 0 there is no best yet.
void take_maximum(const float* values, float* best, uint8_t* places, int place, int images) {
  if (place == 0) {
    memcpy(best, values, images * 32 * sizeof(float));
    memset(places, 0, images * 32);
    return;
  }
  for (int i = 0; i < images * 2; i++) {
    const Vector value = load(values + i * 16), before = load(best + i * 16);
    const Lanes wins = wins_over(value, before);
    store(best + i * 16, select(wins, value, before));
    store_where(wins, place, places + i * 16);
  }
}

// The maximum of the four pixels of a square, and in `place` which it is.
inline Vector maximum_of_square(const float* const (&pixels)[4], int at, Places& place) {
  Vector maximum = load(pixels[0] + at);
  place = no_place();
  for (int i = 1; i < 4; i++) {
    const Vector value = load(pixels[i] + at);
    const Lanes wins = wins_over(value, maximum);
    maximum = select(wins, value, maximum);
    place = select(wins, i, place);
  }
  return maximum;
}

// Takes what the convolution gives for one block of outputs of a chunk's images: pools it, stores it, sums it.
struct Outputs {
  const Shape& shape;
  const int block;
  bf16* const p;          // of the chunk
  uint8_t* const places;  // of the chunk, or null
  float* const best;      // of a window
  uint8_t* const best_places;
  ChannelSums sum{}, squares{};

  int64_t cell(int y, int x, int first) const {
    return ((int64_t(y) * shape.pooled_width() + x) * shape.out_blocks() + block) * CELL + first * 32;
  }
  void take_values(bf16* to, Vector lower, Vector upper) {
    store(to, pack(lower, upper));
    sum.add(lower, upper), squares.add_product(lower, upper, lower, upper);
  }
  // result: images from `first` on.
  void take_pixel(int y, int x, int first, int images, const float* result) {
    bf16* const to = p + cell(y, x, first);
    for (int at = 0; at < images * 32; at += 32) take_values(to + at, load(result + at), load(result + at + 16));
  }
  void take_square(int y, int x, int first, int images, const float* const (&pixels)[4]) {
    const int64_t start = cell(y, x, first);
    for (int at = 0; at < images * 32; at += 32) {
      Places lower_place, upper_place;
      const Vector lower = maximum_of_square(pixels, at, lower_place), upper = maximum_of_square(pixels, at + 16, upper_place);
      take_values(p + start + at, lower, upper);
      if (!places) continue;
      store(places + start + at, lower_place);
      store(places + start + at + 16, upper_place);
    }
  }
  void take_window(int first, int images) {
    take_pixel(0, 0, first, images, best + first * 32);
    if (places) memcpy(places + cell(0, 0, first), best_places + first * 32, images * 32);
  }
  void take(const TileProducts& tiles, int tile_row, int tile_column, int first, int images) {
    if (shape.pools_squares())
      return tiles.for_each_square(tile_row, tile_column, [&](int y, int x, const float* const (&pixels)[4]) {
        take_square(y / 2, x / 2, first, images, pixels);
      });
    const int last = shape.window() - 1;  // 0: no pool; else the window is the whole image
    tiles.for_each_pixel(tile_row, tile_column, [&](int y, int x, const float* result) {
      if (last == 0) return take_pixel(y, x, first, images, result);
      const int at = y * shape.width + x;
      take_maximum(result, best + first * 32, best_places + first * 32, at, images);
      if (at == last) take_window(first, images);
    });
  }
};

}  // namespace

void forward(const MicroKernel& micro_kernel, const Shape& shape, const Chunks& chunks, const Source& source,
             const bf16* weights, bf16* p, uint8_t* places, float* sums, int threads) {
  const int in_blocks = shape.in_blocks(), out_blocks = shape.out_blocks();
  const int64_t in_row = int64_t(shape.width) * in_blocks * CELL;
  const int64_t out_image = int64_t(shape.pooled_height()) * shape.pooled_width() * out_blocks * CELL;
  const int cells = forward_sides(shape).is_winograd(micro_kernel) ? winograd::POSITIONS : shape.taps();
  parallel(chunks.count(), threads, [&](Next next) {
    TileProducts tiles(micro_kernel, forward_sides(shape), shape.inputs);
    const auto values = scratch<bf16>(shape.height * in_row);
    const auto best = scratch<float>(out_blocks * CELL);  // for each block, since a window may have many tiles
    const auto best_places = scratch<uint8_t>(out_blocks * CELL);
    micro_kernel.begin();
    for (int64_t chunk; next(chunk);) {
      const int images = chunks.rows(chunk);
      float* const my_sums = sums ? sums + chunk * 2 * out_blocks * 32 : nullptr;
      if (sums) memset(my_sums, 0, 2 * out_blocks * 32 * sizeof(float));
      for (int row = 0, beyond, made = 0; row < tiles.tile_rows(); row = beyond) {
        beyond = std::min(row + tiles.rows_at_once(), tiles.tile_rows());
        if (const int needed = tiles.rows_for(beyond - 1); needed > made) {
          source.rows(chunk, made, needed, values.get() + made * in_row, nullptr);
          made = needed;
        }
        for (int start = 0; start < tiles.tile_columns(); start += tiles.columns_at_once()) {
          tiles.prepare(values.get(), row, start, images);
          const int end = std::min(start + tiles.columns_at_once(), tiles.tile_columns());
          for (int block = 0; block < out_blocks; block++)
            for (int tile_row = row; tile_row < beyond; tile_row++) {
              Outputs outputs{shape, block, p + chunk * out_image, places ? places + chunk * out_image : nullptr,
                              best.get() + block * CELL, best_places.get() + block * CELL};
              for (int column = start; column < end; column++)
                for (int first = 0; first < images; first += tiles.images_at_once()) {
                  tiles.compute(weights + int64_t(block) * cells * in_blocks * CELL, tile_row, column, first);
                  outputs.take(tiles, tile_row, column, first, std::min(tiles.images_at_once(), images - first));
                }
              if (!sums) continue;
              outputs.sum.add_to(my_sums + block * 32), outputs.squares.add_to(my_sums + (out_blocks + block) * 32);
            }
        }
      }
    }
    micro_kernel.end();
  });
}

}  // namespace paceline
