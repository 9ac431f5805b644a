// Conversion at the ends of a chain of blocks.
#include <cstring>

#include "convolution.h"
#include "parallel.h"
#include "passes.h"

namespace paceline {

void from_cells(const Chunks& chunks, const Source& source, int height, int width, int channels, bf16* out, int threads) {
  const int blocks = (channels + 31) / 32;
  const int64_t image = int64_t(height) * width * channels;
  parallel(chunks.count(), threads, [&](Next next) {
    const auto values = scratch<bf16>(int64_t(width) * blocks * CELL);
    for (int64_t chunk; next(chunk);)
      for (int y = 0; y < height; y++) {
        source.rows(chunk, y, y + 1, values.get(), nullptr);
        bf16* to = out + chunks.first(chunk) * image + int64_t(y) * width * channels;
        for (int64_t cell = 0; cell < int64_t(width) * blocks; cell++) {
          const int block = int(cell % blocks);
          const __mmask32 lanes = first_lanes(channels_in(channels, block));
          for (int i = 0; i < chunks.rows(chunk); i++)
            _mm512_mask_storeu_epi16(to + i * image + cell / blocks * channels + block * 32, lanes,
                                     _mm512_load_si512(values.get() + cell * CELL + i * 32));
        }
      }
  });
}

void into_cells(const Chunks& chunks, const Source& source, const bf16* gradient, const bf16* p, int height, int width,
                int channels, bf16* before, bf16* g, float* sums, int threads) {
  const int blocks = (channels + 31) / 32;
  const Images gradients(chunks, gradient, height, width, channels);
  parallel(chunks.count(), threads, [&](Next next) {
    const int64_t row = int64_t(width) * blocks * CELL;
    const auto values = scratch<bf16>(row), slopes = scratch<bf16>(row);
    for (int64_t chunk; next(chunk);) {
      float* my_sums = sums + chunk * 2 * blocks * 32;
      memset(my_sums, 0, 2 * blocks * 32 * sizeof(float));
      for (int y = 0; y < height; y++) {
        const int64_t start = (chunk * height + y) * row;
        source.rows(chunk, y, y + 1, values.get(), slopes.get());
        gradients.rows(chunk, y, y + 1, values.get(), nullptr);
        for (int64_t cell = 0; cell < int64_t(width) * blocks; cell++) {
          ChannelSums sum, products;
          for (int i = 0; i < chunks.rows(chunk); i++) {
            const int64_t at = cell * CELL + i * 32;
            const __m512i d = _mm512_load_si512(values.get() + at), slope = _mm512_load_si512(slopes.get() + at);
            const __m512i stored = _mm512_load_si512(p + start + at);
            const __m512 first = _mm512_mul_ps(low(d), low(slope)), last = _mm512_mul_ps(high(d), high(slope));
            if (before) _mm512_store_si512(before + start + at, d);
            _mm512_store_si512(g + start + at, pack(first, last));
            sum.add(first, last), products.add_product(first, last, low(stored), high(stored));
          }
          sum.add_to(my_sums + cell % blocks * 32), products.add_to(my_sums + (blocks + cell % blocks) * 32);
        }
      }
    }
  });
}

}  // namespace paceline
