#include <cstring>

#include "convolution.h"
#include "parallel.h"
#include "passes.h"

namespace paceline {
namespace {

// Where a value takes the place of the maximum before it: NaN wins, as in PyTorch.
inline __mmask16 wins_over(__m512 value, __m512 maximum) {
  return _mm512_cmp_ps_mask(value, maximum, _CMP_GT_OQ) | _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
}

// best = max(best, values), and where it came from. At place 0 there is no best yet.
void take_maximum(const float* values, float* best, uint8_t* places, int place, int images) {
  if (place == 0) {
    memcpy(best, values, images * 32 * sizeof(float));
    memset(places, 0, images * 32);
    return;
  }
  for (int i = 0; i < images * 2; i++) {
    const __m512 value = _mm512_load_ps(values + i * 16), before = _mm512_load_ps(best + i * 16);
    const __mmask16 wins = wins_over(value, before);
    _mm512_store_ps(best + i * 16, _mm512_mask_mov_ps(before, wins, value));
    const __m128i old = _mm_load_si128((const __m128i*)(places + i * 16));
    _mm_store_si128((__m128i*)(places + i * 16), _mm_mask_mov_epi8(old, wins, _mm_set1_epi8(int8_t(place))));
  }
}

// The maximum of the four pixels of a square, and in `place` which it is.
inline __m512 maximum_of_square(const float* const (&pixels)[4], int at, __m512i& place) {
  __m512 maximum = _mm512_load_ps(pixels[0] + at);
  place = _mm512_setzero_si512();
  for (int i = 1; i < 4; i++) {
    const __m512 value = _mm512_load_ps(pixels[i] + at);
    const __mmask16 wins = wins_over(value, maximum);
    maximum = _mm512_mask_mov_ps(maximum, wins, value);
    place = _mm512_mask_mov_epi32(place, wins, _mm512_set1_epi32(i));
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
  void store(bf16* to, __m512 lower, __m512 upper) {
    _mm512_store_si512(to, pack(lower, upper));
    sum.add(lower, upper), squares.add_product(lower, upper, lower, upper);
  }
  // result: images from `first` on.
  void store(int y, int x, int first, int images, const float* result) {
    bf16* const to = p + cell(y, x, first);
    for (int at = 0; at < images * 32; at += 32) store(to + at, _mm512_load_ps(result + at), _mm512_load_ps(result + at + 16));
  }
  void store_square(int y, int x, int first, int images, const float* const (&pixels)[4]) {
    const int64_t start = cell(y, x, first);
    for (int at = 0; at < images * 32; at += 32) {
      __m512i lower_place, upper_place;
      const __m512 lower = maximum_of_square(pixels, at, lower_place), upper = maximum_of_square(pixels, at + 16, upper_place);
      store(p + start + at, lower, upper);
      if (!places) continue;
      _mm_store_si128((__m128i*)(places + start + at), _mm512_cvtepi32_epi8(lower_place));
      _mm_store_si128((__m128i*)(places + start + at + 16), _mm512_cvtepi32_epi8(upper_place));
    }
  }
  void store_window(int first, int images) {
    store(0, 0, first, images, best + first * 32);
    if (places) memcpy(places + cell(0, 0, first), best_places + first * 32, images * 32);
  }
  void take(const TileProducts& tiles, int tile_row, int tile_column, int first, int images) {
    if (shape.pools_squares())
      return tiles.for_each_square(tile_row, tile_column, [&](int y, int x, const float* const (&pixels)[4]) {
        store_square(y / 2, x / 2, first, images, pixels);
      });
    const int last = shape.window() - 1;  // 0: no pool; else the window is the whole image
    tiles.for_each_pixel(tile_row, tile_column, [&](int y, int x, const float* result) {
      if (last == 0) return store(y, x, first, images, result);
      const int at = y * shape.width + x;
      take_maximum(result, best + first * 32, best_places + first * 32, at, images);
      if (at == last) store_window(first, images);
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
