#include "weights.h"

#include <cstring>

#include "parallel.h"

namespace paceline {
namespace {

// where `multiply` looks for the value of a summed index and a column
inline int place(int summed, int column) { return column / 16 * 512 + summed / 2 * 32 + column % 16 * 2 + summed % 2; }

inline bf16 round_to_bf16(float value) {
  return bf16(_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(value)), 0));
}

}  // namespace

void pack_forward(const Shape& shape, const bf16* weights, bf16* packed) {
  const int taps = shape.taps();
  for (int o = 0; o < shape.out_blocks(); o++)
    for (int tap = 0; tap < taps; tap++)
      for (int i = 0; i < shape.in_blocks(); i++, packed += CELL) {
        memset(packed, 0, CELL * sizeof(bf16));
        for (int output = 0; output < channels_in(shape.outputs, o); output++) {
          const bf16* from = weights + ((int64_t(o) * 32 + output) * taps + tap) * shape.inputs + i * 32;
          for (int input = 0; input < channels_in(shape.inputs, i); input++) packed[place(input, output)] = from[input];
        }
      }
}

void pack_backward(const Shape& shape, const bf16* weights, bf16* packed) {
  const int taps = shape.taps();
  for (int i = 0; i < shape.in_blocks(); i++)
    for (int tap = 0; tap < taps; tap++)
      for (int o = 0; o < shape.out_blocks(); o++, packed += CELL) {
        memset(packed, 0, CELL * sizeof(bf16));
        for (int output = 0; output < channels_in(shape.outputs, o); output++) {
          const bf16* from = weights + ((int64_t(o) * 32 + output) * taps + taps - 1 - tap) * shape.inputs + i * 32;
          for (int input = 0; input < channels_in(shape.inputs, i); input++) packed[place(output, input)] = from[input];
        }
      }
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
