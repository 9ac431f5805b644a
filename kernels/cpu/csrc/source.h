// What a convolution reads. It is made from what is stored, a few rows of pixels at a time, and never stored whole.
#pragma once
#include "activations.h"
#include "layout.h"

namespace paceline {

struct Source {
  virtual ~Source() = default;
  // Rows [first, beyond) of a chunk's images as cells [pixel][channel block], and, unless null, the derivative of the
  // activation there. Only the chunk's own images are written.
  virtual void rows(int64_t chunk, int first, int beyond, bf16* values, bf16* slopes) const = 0;
};

// images: (N, height, width, channels), contiguous.
struct Images final : Source {
  const Chunks chunks;
  const bf16* images;
  const int height, width, channels;

  Images(Chunks chunks, const bf16* images, int height, int width, int channels)
      : chunks(chunks), images(images), height(height), width(width), channels(channels) {}
  void rows(int64_t chunk, int first, int beyond, bf16* values, bf16* slopes) const override;
};

// activation(scale * P + shift), with scale and shift of [group][channel], and what `shortcut` gives added before or
// after the activation.
struct Normalized final : Source {
  enum class Add { nothing, before, after };
  const Chunks chunks;
  const bf16* p;
  const float *scale, *shift;
  const int height, width, blocks;
  const Activation activation;
  const float alpha;
  const Source* shortcut;
  const Add add;

  Normalized(Chunks chunks, const bf16* p, const float* scale, const float* shift, int height, int width, int blocks,
             Activation activation, float alpha, const Source* shortcut, Add add)
      : chunks(chunks), p(p), scale(scale), shift(shift), height(height), width(width), blocks(blocks),
        activation(activation), alpha(alpha), shortcut(shortcut), add(shortcut ? add : Add::nothing) {}
  void rows(int64_t chunk, int first, int beyond, bf16* values, bf16* slopes) const override;
};

// activation(convolution of images with a bias); a patch with a 1 for the bias has at most 32 values.
struct Whitened final : Source {
  const Chunks chunks;
  const MicroKernel& micro_kernel;
  const bf16* images;   // (N, height, width, channels), contiguous
  const bf16* weights;  // cells [output block], from `pack_whitening`
  const int height, width, channels, kernel, padding, blocks;
  const Activation activation;
  const float alpha;

  Whitened(Chunks chunks, const MicroKernel& micro_kernel, const bf16* images, const bf16* weights, int height,
           int width, int channels, int kernel, int padding, int blocks, Activation activation, float alpha)
      : chunks(chunks), micro_kernel(micro_kernel), images(images), weights(weights), height(height), width(width),
        channels(channels), kernel(kernel), padding(padding), blocks(blocks), activation(activation), alpha(alpha) {}
  void rows(int64_t chunk, int first, int beyond, bf16* values, bf16* slopes) const override;
};

}  // namespace paceline
