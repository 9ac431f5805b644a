// The one operation that differs between instruction sets: a product of 32 x 32 values, summed over many cells.
#pragma once
#include "vector.h"

namespace paceline {

// A cell is 32 rows of 32 bfloat16 (2 KiB, aligned to 64 bytes): two AMX tiles, one under the other.
constexpr int64_t CELL = 1024;

// `count` pairs of cells, one after the other in memory.
// a: [32 rows][32 summed values]; b: [2 halves of the columns][16 pairs of summed values][16 columns][2].
struct Segment {
  const bf16 *a, *b;
  int count;
};

// Rows of 32 columns for two summed values that follow each other, into b.
inline void store_pair(bf16* b, int pair, __m512i even, __m512i odd) {
  __m512i first, last;
  interleave(even, odd, first, last);
  _mm512_store_si512(b + pair * 32, first), _mm512_store_si512(b + CELL / 2 + pair * 32, last);
}

struct MicroKernel {
  const char* name;
  bool prefers_winograd;  // fewer products for more vector work: where products are the slower
  bool (*is_supported)();
  void (*begin)();  // what a thread does before its first product, and after its last
  void (*end)();
  // sums[32 rows][32 columns] = (add ? sums : 0) + the products of all segments. Only the first `rows` rows are needed,
  // and only the first `pairs` pairs of summed values are not zero; the others may be computed or not.
  void (*multiply)(const Segment* segments, int segment_count, int rows, int pairs, bool add, float* sums);
};

extern const MicroKernel amx, avx512_bf16_winograd, avx512_bf16_direct, emulated_amx;

}  // namespace paceline
