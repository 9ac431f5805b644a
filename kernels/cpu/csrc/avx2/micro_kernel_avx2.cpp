// Products in float32 (Haswell and later, Zen and later). Cells are made floats first, in the first-level cache.
#include "micro_kernel.h"

namespace paceline {
namespace {

// Floats of one pair of cells: [32 rows][32 summed values] and [32 summed values][32 columns].
struct Operands {
  alignas(64) float a[CELL], b[CELL];
};

void widen(const bf16* a, const bf16* b, int rows, int pairs, Operands& to) {
  for (int at = 0; at < rows * 32; at += 32) {
    const Row values = load(a + at);
    store(to.a + at, low(values)), store(to.a + at + 16, high(values));
  }
  for (int half = 0; half < 2; half++)
    for (int pair = 0; pair < pairs; pair++) {
      const Row values = load(b + half * CELL / 2 + pair * 32);
      store(to.b + pair * 64 + half * 16, even_of(values)), store(to.b + pair * 64 + 32 + half * 16, odd_of(values));
    }
}

// ROWS rows of 16 columns: their sums and the operands fit the 16 registers, and hide the latency.
template <int ROWS>
void multiply_rows(const float* a, const float* b, int summed, bool add, float* sums) {
  Vector c[ROWS];
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) c[r] = add ? load(sums + r * 32) : all(0.f);
  for (int k = 0; k < summed; k++) {
    const Vector right = load(b + k * 32);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) c[r] = fma(all(a[r * 32 + k]), right, c[r]);
  }
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; r++) store(sums + r * 32, c[r]);
}

void multiply(const Segment* segments, int segment_count, int rows, int pairs, bool add, float* sums) {
  const int computed = (rows + 3) / 4 * 4;  // in groups of 6 and of 4 rows
  Operands operands;
  for (int s = 0; s < segment_count; s++)
    for (int cell = 0; cell < segments[s].count; cell++, add = true) {
      widen(segments[s].a + cell * CELL, segments[s].b + cell * CELL, computed, pairs, operands);
      for (int column = 0; column < 32; column += 16)
        for (int row = 0; row < computed;) {
          const float *a = operands.a + row * 32, *b = operands.b + column;
          float* const to = sums + row * 32 + column;
          const int left = computed - row;
          if (left == 4 || left == 8)
            multiply_rows<4>(a, b, pairs * 2, add, to), row += 4;
          else
            multiply_rows<6>(a, b, pairs * 2, add, to), row += 6;
        }
    }
  if (!add) memset(sums, 0, sizeof(float) * rows * 32);  // there was no cell
}

void nothing() {}

}  // namespace

const MicroKernel avx2_winograd{"avx2_winograd_4x4", 16, has_instructions, nothing, nothing, multiply};
const MicroKernel avx2_direct{"avx2_direct", 0, has_instructions, nothing, nothing, multiply};

std::vector<const MicroKernel*> micro_kernels() { return {&avx2_winograd, &avx2_direct, &emulated_amx}; }

}  // namespace paceline
