#include "weights.h"

#include <cstring>

#include "parallel.h"
#include "tile_products.h"

namespace paceline {
namespace {

// where `multiply` looks for the value of a summed index and a column
inline int place(int summed, int column) { return column / 16 * 512 + summed / 2 * 32 + column % 16 * 2 + summed % 2; }

inline bf16 round_to_bf16(float value) {
  return bf16(_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(value)), 0));
}

// Cells [column block][tap or position][summed block] of weights w(column, summed, tap).
template <class Weights>
void pack(int columns, int summed, int kernel, bool winograd, Weights w, bf16* packed, int threads) {
  const int taps = kernel * kernel, cells = winograd ? POSITIONS : taps, summed_blocks = (summed + 31) / 32;
  parallel((columns + 31) / 32 * summed_blocks, threads, [&](Next next) {
    for (int64_t piece; next(piece);) {
      const int column_block = int(piece / summed_blocks), summed_block = int(piece % summed_blocks);
      bf16* const first = packed + (int64_t(column_block) * cells * summed_blocks + summed_block) * CELL;
      const int64_t stride = summed_blocks * CELL;
      for (int cell = 0; cell < cells; cell++) memset(first + cell * stride, 0, CELL * sizeof(bf16));
      for (int c = 0; c < channels_in(columns, column_block); c++)
        for (int s = 0; s < channels_in(summed, summed_block); s++) {
          bf16* const to = first + place(s, c);
          const int column = column_block * 32 + c, sum = summed_block * 32 + s;
          if (!winograd) {
            for (int tap = 0; tap < taps; tap++) to[tap * stride] = w(column, sum, tap);
            continue;
          }
          float rows[4][3];  // G g, and then times G transposed, with G = (1 0 0, 1/2 1/2 1/2, 1/2 -1/2 1/2, 0 0 1)
          for (int x = 0; x < 3; x++) {
            const float a = to_float(w(column, sum, x)), b = to_float(w(column, sum, 3 + x)), d = to_float(w(column, sum, 6 + x));
            rows[0][x] = a, rows[1][x] = (a + b + d) / 2, rows[2][x] = (a - b + d) / 2, rows[3][x] = d;
          }
          for (int y = 0; y < 4; y++) {
            const float a = rows[y][0], b = rows[y][1], d = rows[y][2];
            const float values[4] = {a, (a + b + d) / 2, (a - b + d) / 2, d};
            for (int x = 0; x < 4; x++) to[(y * 4 + x) * stride] = round_to_bf16(values[x]);
          }
        }
    }
  });
}

}  // namespace

void pack_forward(const Shape& shape, const bf16* weights, bool winograd, bf16* packed, int threads) {
  const int taps = shape.taps();
  auto weight = [&](int output, int input, int tap) { return weights[(int64_t(output) * taps + tap) * shape.inputs + input]; };
  pack(shape.outputs, shape.inputs, shape.kernel, winograd, weight, packed, threads);
}

void pack_backward(const Shape& shape, const bf16* weights, bool winograd, bf16* packed, int threads) {
  const int taps = shape.taps();
  auto weight = [&](int input, int output, int tap) { return weights[(int64_t(output) * taps + taps - 1 - tap) * shape.inputs + input]; };
  pack(shape.inputs, shape.outputs, shape.kernel, winograd, weight, packed, threads);
}

void pack_whitening(int outputs, int patch_values, const bf16* weights, const bf16* bias, bf16* packed) {
  memset(packed, 0, (outputs + 31) / 32 * CELL * sizeof(bf16));
  for (int output = 0; output < outputs; output++) {
    bf16* to = packed + output / 32 * CELL;
    for (int value = 0; value < patch_values; value++)
      to[place(value, output % 32)] = weights[output * patch_values + value];
    if (bias) to[place(patch_values, output % 32)] = bias[output];
  }
}

void collect_gradient(const Shape& shape, int slices, const float* sums, bf16* gradient, int threads) {
  const int taps = shape.taps(), in_blocks = shape.in_blocks();
  const int64_t size = int64_t(shape.out_blocks()) * in_blocks * taps * CELL;
  parallel(shape.out_blocks() * in_blocks * taps, threads, [&](Next next) {
    alignas(64) float sum[CELL];
    for (int64_t cell; next(cell);) {
      memcpy(sum, sums + cell * CELL, sizeof sum);
      for (int slice = 1; slice < slices; slice++)
        for (int i = 0; i < CELL; i++) sum[i] += sums[slice * size + cell * CELL + i];
      const int tap = int(cell % taps), i = int(cell / taps % in_blocks), o = int(cell / taps / in_blocks);
      for (int output = 0; output < channels_in(shape.outputs, o); output++) {
        bf16* to = gradient + ((int64_t(o) * 32 + output) * taps + tap) * shape.inputs + i * 32;
        for (int input = 0; input < channels_in(shape.inputs, i); input++) to[input] = round_to_bf16(sum[input * 32 + output]);
      }
    }
  });
}

}  // namespace paceline
