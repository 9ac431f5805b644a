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
          for (int i = 0; i < chunks.rows(chunk); i++)
            store_first(channels_in(channels, block), to + i * image + cell / blocks * channels + block * 32,
                        load(values.get() + cell * CELL + i * 32));
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
            const Row d = load(values.get() + at), slope = load(slopes.get() + at);
            const Row stored = load(p + start + at);
            const Vector first = low(d) * low(slope), last = high(d) * high(slope);
            if (before) store(before + start + at, d);
            store(g + start + at, pack(first, last));
            sum.add(first, last), products.add_product(first, last, low(stored), high(stored));
          }
          sum.add_to(my_sums + cell % blocks * 32), products.add_to(my_sums + (blocks + cell % blocks) * 32);
        }
      }
    }
  });
}

}  // namespace paceline
