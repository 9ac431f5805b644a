// The operation that takes the most time, with a version for each set of instructions: a product of 32 x 32 values,
// summed over many cells.
#pragma once
#include <vector>

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
inline void store_pair(bf16* b, int pair, Row even, Row odd) {
  Row first, last;
  interleave(even, odd, first, last);
  store(b + pair * 32, first), store(b + CELL / 2 + pair * 32, last);
}

struct MicroKernel {
  const char* name;
  // 0: direct products. Else Winograd's, which are fewer for more vector work, of so many images at once with one block of
  // channels: few, whose products stay in the cache, or more, which share the weights.
  int winograd_images;
  bool (*is_supported)();
  void (*begin)();  // what a thread does before its first product, and after its last
  void (*end)();
  // sums[32 rows][32 columns] = (add ? sums : 0) + the products of all segments. Only the first `rows` rows are needed,
  // and only the first `pairs` pairs of summed values are not zero; the others may be computed or not.
  void (*multiply)(const Segment* segments, int segment_count, int rows, int pairs, bool add, float* sums);
};

extern const MicroKernel amx, avx512_bf16_winograd, avx512_bf16_direct, avx2_winograd, avx2_direct, emulated_amx;

// Those that are compiled with these instructions, the fastest first.
std::vector<const MicroKernel*> micro_kernels();

}  // namespace paceline
