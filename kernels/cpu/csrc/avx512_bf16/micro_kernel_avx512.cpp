// Products by vdpbf16ps (Zen 4 and later, Cooper Lake, Sapphire Rapids and later).
#include "micro_kernel.h"

namespace paceline {
namespace {

constexpr int ROWS = 8;  // 8 x 2 accumulators and the operands fit the 32 registers, and hide the latency

inline __m512bh pair_of(const bf16* values) {
  int32_t pair;
  __builtin_memcpy(&pair, values, 4);
  return (__m512bh)_mm512_set1_epi32(pair);
}

void multiply(const Segment* segments, int segment_count, int rows, int pairs, bool add, float* sums) {
  for (int first = 0; first < rows; first += ROWS) {
    __m512 c[ROWS][2];
    for (int r = 0; r < ROWS; r++)
      for (int h = 0; h < 2; h++) c[r][h] = add ? _mm512_load_ps(sums + (first + r) * 32 + h * 16) : all(0.f);
    for (int s = 0; s < segment_count; s++) {
      const bf16 *a = segments[s].a + first * 32, *b = segments[s].b;
      for (int cell = 0; cell < segments[s].count; cell++, a += CELL, b += CELL)
#pragma GCC unroll 1
        for (int pair = 0; pair < pairs; pair++) {
          const __m512bh left = (__m512bh)_mm512_load_si512(b + pair * 32);
          const __m512bh right = (__m512bh)_mm512_load_si512(b + CELL / 2 + pair * 32);
#pragma GCC unroll 8
          for (int r = 0; r < ROWS; r++) {
            const __m512bh value = pair_of(a + r * 32 + pair * 2);
            c[r][0] = _mm512_dpbf16_ps(c[r][0], value, left);
            c[r][1] = _mm512_dpbf16_ps(c[r][1], value, right);
          }
        }
    }
    for (int r = 0; r < ROWS; r++)
      for (int h = 0; h < 2; h++) _mm512_store_ps(sums + (first + r) * 32 + h * 16, c[r][h]);
  }
}

void nothing() {}

}  // namespace

const MicroKernel avx512_bf16_winograd{"avx512_bf16_winograd_4x4", 8, has_instructions, nothing, nothing, multiply};
const MicroKernel avx512_bf16_direct{"avx512_bf16_direct", 0, has_instructions, nothing, nothing, multiply};

}  // namespace paceline
