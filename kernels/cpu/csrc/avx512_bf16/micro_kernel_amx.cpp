// Products by AMX tiles (Sapphire Rapids and later). Instructions are written out, since GCC 12's intrinsics take no
// template argument as tile number and do not tell the compiler that they read and write memory.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tiles.h"

namespace paceline {
namespace {

struct AmxTiles {
  template <int TILE> static void zero() { asm volatile("tilezero %%tmm%c0" ::"i"(TILE)); }
  template <int TILE> static void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(TILE) : "memory");
  }
  template <int TILE> static void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(TILE) : "memory");
  }
  template <int SUM, int A, int B> static void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUM), "i"(A), "i"(B));
  }
};

void begin() {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  for (int tile = 0; tile < 8; tile++) config.row_bytes[tile] = 64, config.rows[tile] = 16;
  asm volatile("ldtilecfg %0" ::"m"(config) : "memory");
}
void end() { asm volatile("tilerelease"); }

bool is_supported() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool has_tiles = d >> 22 & 1 && d >> 24 & 1;  // AMX-BF16 and AMX-TILE
  constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // arch_prctl: Linux enables tiles on request
  return has_tiles && has_instructions() && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

}  // namespace

const MicroKernel amx{"amx", 0, is_supported, begin, end, multiply_by_tiles<AmxTiles>};

}  // namespace paceline
