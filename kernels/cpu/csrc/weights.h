// Weights in the order in which the micro-kernels read them.
#pragma once
#include "layout.h"

namespace paceline {

// weights: (outputs, kernel, kernel, inputs), contiguous. The results are cells, filled up with zeros: b of `multiply`.
// transforms: the positions of the 3 x 3 weights, transformed as in winograd.h, take the place of the taps.
// [output block][tap or position][input block], summed over inputs
void pack_forward(const Shape& shape, const bf16* weights, bool transforms, bf16* packed, int threads);
// [input block][tap, turned round, or position][output block], summed over outputs
void pack_backward(const Shape& shape, const bf16* weights, bool transforms, bf16* packed, int threads);
// weights: (outputs, patch values); bias: (outputs) or null. To [output block], the bias as a last patch value.
void pack_whitening(int outputs, int patch_values, const bf16* weights, const bf16* bias, bf16* packed);

// Gradients (slices, output block, input block, tap, 32 inputs, 32 outputs), summed over the slices in their order, to
// (outputs, kernel, kernel, inputs).
void collect_gradient(const Shape& shape, int slices, const float* sums, bf16* gradient, int threads);

}  // namespace paceline
