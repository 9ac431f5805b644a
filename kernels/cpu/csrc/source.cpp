#include "source.h"

#include <cstring>

namespace paceline {
namespace {

constexpr bf16 ONE = 0x3f80;

// Calls `work` with the activation as a constant.
template <class Work>
void dispatch(Activation activation, Work work) {
  switch (activation) {
    case Activation::none: return work(std::integral_constant<Activation, Activation::none>());
    case Activation::relu: return work(std::integral_constant<Activation, Activation::relu>());
    case Activation::celu: return work(std::integral_constant<Activation, Activation::celu>());
    case Activation::gelu: return work(std::integral_constant<Activation, Activation::gelu>());
    case Activation::silu: return work(std::integral_constant<Activation, Activation::silu>());
  }
}

template <Activation KIND, Normalized::Add ADD>
void normalize(const bf16* from, int64_t cells, int blocks, int rows, const float* scale, const float* shift,
               float alpha, bf16* values, bf16* slopes) {
  for (int64_t cell = 0; cell < cells; cell++, from += CELL, values += CELL) {
    const int channel = int(cell % blocks) * 32;
    const Vector scale0 = load_unaligned(scale + channel), scale1 = load_unaligned(scale + channel + 16);
    const Vector shift0 = load_unaligned(shift + channel), shift1 = load_unaligned(shift + channel + 16);
    for (int i = 0; i < rows; i++) {
      const Row stored = load(from + i * 32);
      Vector y0 = fma(low(stored), scale0, shift0), y1 = fma(high(stored), scale1, shift1);
      Vector other0 = all(0.f), other1 = all(0.f), slope0, slope1;
      if (ADD != Normalized::Add::nothing) {
        const Row other = load(values + i * 32);
        other0 = low(other), other1 = high(other);
      }
      if (ADD == Normalized::Add::before) y0 = y0 + other0, y1 = y1 + other1;
      Vector z0 = activate<KIND>(y0, alpha, slope0), z1 = activate<KIND>(y1, alpha, slope1);
      if (ADD == Normalized::Add::after) z0 = z0 + other0, z1 = z1 + other1;
      store(values + i * 32, pack(z0, z1));
      if (slopes) store(slopes + cell * CELL + i * 32, pack(slope0, slope1));
    }
  }
}

}  // namespace

void Images::rows(int64_t chunk, int first, int beyond, bf16* values, bf16* slopes) const {
  const int count = chunks.rows(chunk), blocks = (channels + 31) / 32;
  const int64_t image = int64_t(height) * width * channels;
  const bf16* from = images + chunks.first(chunk) * image + int64_t(first) * width * channels;
  const Row one = all_bits(ONE);
  for (int64_t pixel = 0; pixel < int64_t(beyond - first) * width; pixel++, from += channels)
    for (int block = 0; block < blocks; block++, values += CELL) {
      const int inputs = channels_in(channels, block);
      for (int i = 0; i < count; i++)
        store(values + i * 32, load_first(inputs, from + i * image + block * 32));
      if (!slopes) continue;
      for (int i = 0; i < count; i++) store(slopes + i * 32, one);
      slopes += CELL;
    }
}

void Normalized::rows(int64_t chunk, int first, int beyond, bf16* values, bf16* slopes) const {
  if (shortcut) shortcut->rows(chunk, first, beyond, values, nullptr);
  const int64_t start = ((chunk * height + first) * width) * blocks * CELL;
  const int64_t cells = int64_t(beyond - first) * width * blocks, group = chunks.group_of(chunk) * blocks * 32;
  const int count = chunks.rows(chunk);
  dispatch(activation, [&](auto kind) {
    auto run = [&](auto add) {
      normalize<kind(), add()>(p + start, cells, blocks, count, scale + group, shift + group, alpha, values, slopes);
    };
    if (add == Add::nothing) run(std::integral_constant<Add, Add::nothing>());
    if (add == Add::before) run(std::integral_constant<Add, Add::before>());
    if (add == Add::after) run(std::integral_constant<Add, Add::after>());
  });
}

void Whitened::rows(int64_t chunk, int first, int beyond, bf16* values, bf16* slopes) const {
  const int count = chunks.rows(chunk), out_width = width + 2 * padding - kernel + 1;
  const int row_values = kernel * channels, patch_values = kernel * row_values, pairs = patch_values / 2 + 1;
  const int64_t line = int64_t(width) * channels, image = line * height;
  alignas(64) bf16 patches[CELL] = {};
  alignas(64) float sums[CELL];
  alignas(64) bf16 one_of_bias[32] = {};
  one_of_bias[patch_values] = ONE;
  const Row bias = load(one_of_bias);
  dispatch(activation, [&](auto kind) {
    for (int y = first; y < beyond; y++)
      for (int x = 0; x < out_width; x++) {
        const int left = std::max(0, padding - x), right = std::min(kernel, width + padding - x);  // taps inside
        const int top = std::max(0, padding - y), bottom = std::min(kernel, height + padding - y);
        const int64_t offset = (int64_t(y) - padding) * line + (int64_t(x) - padding) * channels;
        for (int i = 0; i < count; i++) {
          const bf16* from = images + (chunks.first(chunk) + i) * image + offset;
          Row patch = bias;
          for (int tap = top; tap < bottom; tap++)
            patch = insert(patch, from + tap * line, left * channels, right * channels, tap * row_values);
          store(patches + i * 32, patch);
        }
        for (int block = 0; block < blocks; block++, values += CELL) {
          const Segment segment{patches, weights + block * CELL, 1};
          micro_kernel.multiply(&segment, 1, count, pairs, false, sums);
          for (int i = 0; i < count; i++) {
            Vector slope0, slope1;
            const Vector z0 = activate<kind()>(load(sums + i * 32), alpha, slope0);
            const Vector z1 = activate<kind()>(load(sums + i * 32 + 16), alpha, slope1);
            store(values + i * 32, pack(z0, z1));
            if (slopes) store(slopes + i * 32, pack(slope0, slope1));
          }
          if (slopes) slopes += CELL;
        }
      }
  });
}

}  // namespace paceline
