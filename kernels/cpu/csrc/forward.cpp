#include <cstring>

#include "convolution.h"
#include "parallel.h"
#include "taps.h"

namespace paceline {
namespace {

// best = max(best, values), and where it came from. NaN wins, as in PyTorch.
void take_maximum(const float* values, float* best, uint8_t* places, int place, int rows) {
  for (int i = 0; i < rows * 2; i++) {
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
  const int in_blocks = shape.in_blocks(), out_blocks = shape.out_blocks(), border = shape.border();
  const int width = shape.pooled_width(), window_height = shape.window_height, window_width = shape.window_width;
  const int strip = strip_rows(shape, int64_t(shape.width) * in_blocks * CELL * 2), pairs = pairs_of(shape.inputs);
  const int64_t strip_cells = int64_t(std::min(strip * window_height + 2 * border, shape.height)) * shape.width * in_blocks;
  parallel(chunks.count(), threads, [&](Next next) {
    const auto values = scratch<bf16>(strip_cells * CELL);
    alignas(64) float best[CELL], product[CELL];
    alignas(64) uint8_t place[CELL] = {};
    Segment segments[LARGEST_KERNEL];
    micro_kernel.begin();
    for (int64_t chunk; next(chunk);) {
      const int rows = chunks.rows(chunk);
      float* const my_sums = sums ? sums + chunk * 2 * out_blocks * 32 : nullptr;
      if (sums) memset(my_sums, 0, 2 * out_blocks * 32 * sizeof(float));
      for (int top = 0; top < shape.pooled_height(); top += strip) {
        const int bottom = std::min(top + strip, shape.pooled_height());
        const int first = std::max(top * window_height - border, 0);
        const int beyond = std::min(bottom * window_height + border, shape.height);
        source.rows(chunk, first, beyond, values.get(), nullptr);
        for (int block = 0; block < out_blocks; block++) {
          const bf16* block_weights = weights + int64_t(block) * shape.taps() * in_blocks * CELL;
          ChannelSums sum, squares;
          for (int y = top; y < bottom; y++)
            for (int x = 0; x < width; x++) {
              for (int j = 0; j < shape.window(); j++) {
                const int count = segments_around(values.get(), beyond - first, shape.width, in_blocks, shape.kernel,
                                                  block_weights, y * window_height + j / window_width - first,
                                                  x * window_width + j % window_width, segments);
                micro_kernel.multiply(segments, count, rows, pairs, false, j ? product : best);
                if (j) take_maximum(product, best, place, j, rows);
              }
              const int64_t at = ((chunk * shape.pooled_height() + y) * width + x) * out_blocks + block;
              for (int i = 0; i < rows; i++) {
                const __m512 value0 = _mm512_load_ps(best + i * 32), value1 = _mm512_load_ps(best + i * 32 + 16);
                _mm512_store_si512(p + at * CELL + i * 32, pack(value0, value1));
                sum.add(value0, value1), squares.add_product(value0, value1, value0, value1);
              }
              if (places) memcpy(places + at * CELL, place, rows * 32);
              if (shape.window() > 1) memset(place, 0, sizeof place);
            }
          if (!sums) continue;
          sum.add_to(my_sums + block * 32), squares.add_to(my_sums + (out_blocks + block) * 32);
        }
      }
    }
    micro_kernel.end();
  });
}

}  // namespace paceline
