// Forward and backward pass of convolution and max-pool, with the sums that a batch norm needs on both ways.
#pragma once
#include "source.h"
#include "tile_products.h"

namespace paceline {

// The convolution of the forward pass, and the one of the backward pass that gives the gradient at its input.
inline Sides forward_sides(const Shape& shape) {
  return {shape.height, shape.width, shape.seen_height(), shape.seen_width(), shape.kernel, shape.pools_squares()};
}
inline Sides backward_sides(const Shape& shape) {
  return {shape.seen_height(), shape.seen_width(), shape.height, shape.width, shape.kernel, false};
}

// p, places: cells [chunk][pooled pixel][output block]; places: which pixel of the window is the maximum; null: not kept.
// sums: [chunk][2][32 * output blocks], of p and of its square; null: not taken. weights: from `pack_forward`.
void forward(const MicroKernel& micro_kernel, const Shape& shape, const Chunks& chunks, const Source& source,
             const bf16* weights, bf16* p, uint8_t* places, float* sums, int threads);

struct BackwardInputs {
  const bf16* g;          // gradient at the norm's output, cells like p
  const bf16* p;          // what `forward` gave
  const uint8_t* places;  // null for a pool of 1 x 1
  const float* factors;   // [group][3][32 * output blocks]: the gradient at p is f[0] * g + f[1] * p + f[2]
  const bf16* weights;    // from `pack_backward`; null: no gradient for the source is wanted
  const bf16* before_p;   // p of the block that made the source, cells [chunk][pixel][input block]; null: none
  const bf16* extra;      // cells like before_p, added to the gradient at the source; null: nothing
};
struct BackwardOutputs {
  float* gradient;   // [slice][output block][input block][tap][32 inputs][32 outputs]
  bf16* before;      // gradient at the source; null: not kept
  bf16* before_g;    // the same times the derivative of the source's activation; null: not kept
  float* before_sums;  // [chunk][2][32 * input blocks], of before_g and of before_g * before_p; null: not taken
};
// A slice is a part of the chunks; the same slices give the same sums whatever the number of threads.
void backward(const MicroKernel& micro_kernel, const Shape& shape, const Chunks& chunks, const Source& source,
              const BackwardInputs& in, const BackwardOutputs& out, int slices, int threads);

// Cells [chunk][pixel][block] as the source makes them, to (N, height, width, channels).
void from_cells(const Chunks& chunks, const Source& source, int height, int width, int channels, bf16* out, int threads);
// (N, height, width, channels) to g: cells times the derivative of the source's activation; sums as in before_sums.
void into_cells(const Chunks& chunks, const Source& source, const bf16* gradient, const bf16* p, int height, int width,
                int channels, bf16* before, bf16* g, float* sums, int threads);

}  // namespace paceline
