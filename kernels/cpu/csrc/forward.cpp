#include <cstring>

#include "convolution.h"
#include "parallel.h"
#include "passes.h"

namespace paceline {
namespace {

// best = max(best, values), and where it came from. NaN wins, as in PyTorch. At place 0 there is no best yet.
void take_maximum(const float* values, float* best, uint8_t* places, int place, int images) {
  if (place == 0) {
    memcpy(best, values, images * 32 * sizeof(float));
    memset(places, 0, images * 32);
    return;
  }
  for (int i = 0; i < images * 2; i++) {
    const __m512 value = _mm512_load_ps(values + i * 16), before = _mm512_load_ps(best + i * 16);
    const __mmask16 wins = _mm512_cmp_ps_mask(value, before, _CMP_GT_OQ) | _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    _mm512_store_ps(best + i * 16, _mm512_mask_mov_ps(before, wins, value));
    const __m128i old = _mm_load_si128((const __m128i*)(places + i * 16));
    _mm_store_si128((__m128i*)(places + i * 16), _mm_mask_mov_epi8(old, wins, _mm_set1_epi8(int8_t(place))));
  }
}

}  // namespace

void forward(const MicroKernel& micro_kernel, const Shape& shape, const Chunks& chunks, const Source& source,
             const bf16* weights, bf16* p, uint8_t* places, float* sums, int threads) {
  const int in_blocks = shape.in_blocks(), out_blocks = shape.out_blocks(), window = shape.window();
  const int64_t in_row = int64_t(shape.width) * in_blocks * CELL;
  const int cells = forward_is_winograd(micro_kernel, shape) ? POSITIONS : shape.taps();
  parallel(chunks.count(), threads, [&](Next next) {
    TileProducts tiles(micro_kernel, shape.height, shape.width, shape.inputs, shape.seen_height(), shape.seen_width(), shape.kernel);
    const auto values = scratch<bf16>(shape.height * in_row);
    const auto best = scratch<float>(out_blocks * CELL);  // of a window; for each block, since a window may have many tiles
    const auto place = scratch<uint8_t>(out_blocks * CELL);
    alignas(64) float products[4 * CELL];
    micro_kernel.begin();
    for (int64_t chunk; next(chunk);) {
      const int images = chunks.rows(chunk);
      const int64_t first_pixel = chunk * shape.pooled_height() * shape.pooled_width();
      float* const my_sums = sums ? sums + chunk * 2 * out_blocks * 32 : nullptr;
      if (sums) memset(my_sums, 0, 2 * out_blocks * 32 * sizeof(float));
      for (int row = 0, made = 0; row < tiles.tile_rows(); row++) {
        if (const int needed = tiles.rows_for(row); needed > made) {
          source.rows(chunk, made, needed, values.get() + made * in_row, nullptr);
          made = needed;
        }
        for (int start = 0; start < tiles.tile_columns(); start += tiles.columns_at_once()) {
          tiles.prepare(values.get(), row, start, images);
          const int end = std::min(start + tiles.columns_at_once(), tiles.tile_columns());
          for (int block = 0; block < out_blocks; block++) {
            ChannelSums sum, squares;
            float* const my_best = best.get() + block * CELL;
            uint8_t* const my_place = place.get() + block * CELL;
            auto finish = [&](int64_t pixel, const float* result) {
              bf16* to = p + (pixel * out_blocks + block) * CELL;
              for (int i = 0; i < images; i++) {
                const __m512 first = _mm512_load_ps(result + i * 32), last = _mm512_load_ps(result + i * 32 + 16);
                _mm512_store_si512(to + i * 32, pack(first, last));
                sum.add(first, last), squares.add_product(first, last, first, last);
              }
            };
            for (int column = start; column < end; column++) {
              tiles.compute(weights + int64_t(block) * cells * in_blocks * CELL, row, column, products);
              for (int j = 0; j < 4; j++) {
                if (!tiles.has(row, column, j)) continue;
                const int y = 2 * row + j / 2, x = 2 * column + j % 2;
                if (window == 1) {
                  finish(first_pixel + y * shape.width + x, products + j * CELL);
                  continue;
                }
                const int at = y % shape.window_height * shape.window_width + x % shape.window_width;
                take_maximum(products + j * CELL, my_best, my_place, at, images);
                // the last pixel of a window comes last: a window is a tile or the whole image
                if (at < window - 1) continue;
                const int64_t pixel = first_pixel + y / shape.window_height * shape.pooled_width() + x / shape.window_width;
                finish(pixel, my_best);
                if (places) memcpy(places + (pixel * out_blocks + block) * CELL, my_place, images * 32);
              }
            }
            if (!sums) continue;
            sum.add_to(my_sums + block * 32), squares.add_to(my_sums + (out_blocks + block) * 32);
          }
        }
      }
    }
    micro_kernel.end();
  });
}

}  // namespace paceline
