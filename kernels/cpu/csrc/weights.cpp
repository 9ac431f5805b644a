#include "weights.h"

#include <cstring>

#include "parallel.h"
#include "tile_products.h"

namespace paceline {
namespace {

// where `multiply` looks for the value of a summed index and a column
inline int place(int summed, int column) { return column / 16 * 512 + summed / 2 * 32 + column % 16 * 2 + summed % 2; }

// The weights of one output for 32 inputs from `first_input` on, each tap or transformed position a vector.
void load_weights(const Shape& shape, const bf16* weights, int output, int first_input, bool turned, bool transforms, Row* to) {
  using namespace winograd;
  const int taps = shape.taps();
  for (int tap = 0; tap < taps; tap++) {
    const int64_t from = (int64_t(output) * taps + (turned ? taps - 1 - tap : tap)) * shape.inputs + first_input;
    to[tap] = output < shape.outputs ? load_first(shape.inputs - first_input, weights + from) : no_values();
  }
  if (!transforms) return;
  // which reads everything before it stores anything
  transform<Weights>([&](int y, int x) { return Floats(to[y * WEIGHTS + x]); },
                     [&](int y, int x, const Floats& value) { to[y * SIDE + x] = value.rounded(); });
}

// Calls work(output block, input block) for all, in parallel.
template <class Work>
void for_each_block(const Shape& shape, int threads, Work work) {
  parallel(shape.out_blocks() * shape.in_blocks(), threads, [&](Next next) {
    for (int64_t piece; next(piece);) work(int(piece / shape.in_blocks()), int(piece % shape.in_blocks()));
  });
}

}  // namespace

void pack_forward(const Shape& shape, const bf16* weights, bool transforms, bf16* packed, int threads) {
  const int cells = transforms ? winograd::POSITIONS : shape.taps();
  for_each_block(shape, threads, [&](int out_block, int in_block) {
    Row of_outputs[16][LARGEST_KERNEL * LARGEST_KERNEL], of_one[16];
    for (int half = 0; half < 2; half++) {
      for (int o = 0; o < 16; o++)
        load_weights(shape, weights, out_block * 32 + half * 16 + o, in_block * 32, false, transforms, of_outputs[o]);
      for (int cell = 0; cell < cells; cell++) {
        for (int o = 0; o < 16; o++) of_one[o] = of_outputs[o][cell];
        bf16* const to = packed + ((int64_t(out_block) * cells + cell) * shape.in_blocks() + in_block) * CELL;
        transpose16(of_one, to + half * CELL / 2);  // pairs of inputs
      }
    }
  });
}

void pack_backward(const Shape& shape, const bf16* weights, bool transforms, bf16* packed, int threads) {
  const int cells = transforms ? winograd::POSITIONS : shape.taps();
  for_each_block(shape, threads, [&](int out_block, int in_block) {
    Row even[LARGEST_KERNEL * LARGEST_KERNEL], odd[LARGEST_KERNEL * LARGEST_KERNEL];
    for (int pair = 0; pair < 16; pair++) {
      const int output = out_block * 32 + pair * 2;
      load_weights(shape, weights, output, in_block * 32, true, transforms, even);
      load_weights(shape, weights, output + 1, in_block * 32, true, transforms, odd);
      for (int cell = 0; cell < cells; cell++) {
        bf16* const to = packed + ((int64_t(in_block) * cells + cell) * shape.out_blocks() + out_block) * CELL;
        store_pair(to, pair, even[cell], odd[cell]);
      }
    }
  });
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
      for (int half = 0; half < 2; half++) {
        Row pairs[16];  // of inputs
        for (int pair = 0; pair < 16; pair++) {
          const float* const from = sum + pair * 64 + half * 16;
          pairs[pair] = zip_halves(pack(load(from), load(from + 32)));
        }
        alignas(64) bf16 turned[CELL / 2];  // 16 outputs x 32 inputs
        transpose16(pairs, turned);
        for (int row = 0; row < std::min(channels_in(shape.outputs, o) - half * 16, 16); row++) {
          bf16* const to = gradient + ((int64_t(o) * 32 + half * 16 + row) * taps + tap) * shape.inputs + i * 32;
          store_first(channels_in(shape.inputs, i), to, load(turned + row * 32));
        }
      }
    }
  });
}

}  // namespace paceline
