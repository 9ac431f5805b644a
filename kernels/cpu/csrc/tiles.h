// The product by tiles of 16 rows x 64 bytes, whoever implements the tiles: AMX, or plain C++ for tests.
#pragma once
#include "micro_kernel.h"

namespace paceline {

template <class Tiles>
void multiply_by_tiles(const Segment* segments, int segment_count, int, int, bool add, float* sums) {
  constexpr int64_t ROW = 32 * sizeof(float);  // bytes from row to row of the sums
  float* const quarters[4] = {sums, sums + 16, sums + 16 * 32, sums + 16 * 32 + 16};
  if (add) {
    Tiles::template load<0>(quarters[0], ROW), Tiles::template load<1>(quarters[1], ROW);
    Tiles::template load<2>(quarters[2], ROW), Tiles::template load<3>(quarters[3], ROW);
  } else {
    Tiles::template zero<0>(), Tiles::template zero<1>(), Tiles::template zero<2>(), Tiles::template zero<3>();
  }
  for (int s = 0; s < segment_count; s++) {
    const bf16 *a = segments[s].a, *b = segments[s].b;
    for (int cell = 0; cell < segments[s].count; cell++, a += CELL, b += CELL) {
      Tiles::template load<4>(a, 64), Tiles::template load<5>(a + CELL / 2, 64);
      Tiles::template load<6>(b, 64), Tiles::template load<7>(b + CELL / 2, 64);
      Tiles::template multiply<0, 4, 6>(), Tiles::template multiply<1, 4, 7>();
      Tiles::template multiply<2, 5, 6>(), Tiles::template multiply<3, 5, 7>();
    }
  }
  Tiles::template store<0>(quarters[0], ROW), Tiles::template store<1>(quarters[1], ROW);
  Tiles::template store<2>(quarters[2], ROW), Tiles::template store<3>(quarters[3], ROW);
}

}  // namespace paceline
