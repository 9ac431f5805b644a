// AMX's tile instructions in plain C++, so that a machine without AMX can test what is built from them. Slow.
#include <cstring>

#include "tiles.h"

namespace paceline {
namespace {

struct EmulatedTiles {
  static thread_local char rows[8][16][64];

  template <int TILE> static void zero() { memset(rows[TILE], 0, sizeof rows[TILE]); }
  template <int TILE> static void load(const void* from, int64_t stride) {
    for (int r = 0; r < 16; r++) memcpy(rows[TILE][r], (const char*)from + r * stride, 64);
  }
  template <int TILE> static void store(void* to, int64_t stride) {
    for (int r = 0; r < 16; r++) memcpy((char*)to + r * stride, rows[TILE][r], 64);
  }
  template <int SUM, int A, int B> static void multiply() {  // TDPBF16PS, without its flush of denormals to zero
    for (int m = 0; m < 16; m++)
      for (int n = 0; n < 16; n++) {
        float sum;
        memcpy(&sum, rows[SUM][m] + n * 4, 4);
        for (int k = 0; k < 16; k++) {
          bf16 a[2], b[2];
          memcpy(a, rows[A][m] + k * 4, 4), memcpy(b, rows[B][k] + n * 4, 4);
          sum += to_float(a[0]) * to_float(b[0]);
          sum += to_float(a[1]) * to_float(b[1]);
        }
        memcpy(rows[SUM][m] + n * 4, &sum, 4);
      }
  }
};
thread_local char EmulatedTiles::rows[8][16][64];

bool is_supported() { return has_instructions(); }  // what is not emulated needs them
void nothing() {}

}  // namespace

const MicroKernel emulated_amx{"emulated_amx", 0, is_supported, nothing, nothing, multiply_by_tiles<EmulatedTiles>};

}  // namespace paceline
