// Both passes and the augmentation over shapes with remainders, for AddressSanitizer and UndefinedBehaviorSanitizer. Buffers are of the exact
// size, so that a step over their end is seen.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "augment.h"
#include "convolution.h"
#include "parallel.h"
#include "weights.h"

using namespace paceline;

template <class T>
auto filled(int64_t count, T value) {
  auto memory = scratch<T>(count);
  for (int64_t i = 0; i < count; i++) memory[i] = value;
  return memory;
}

constexpr bf16 ONE = 0x3f80;

void blocks(const MicroKernel& micro_kernel, const Chunks& chunks, const Shape& shape, bool whitened) {
  const int kernel = 2, image_channels = 3;  // of the whitening
  const int image_height = whitened ? shape.height + kernel - 1 : shape.height, image_width = whitened ? shape.width + kernel - 1 : shape.width;
  const auto images = filled<bf16>(chunks.images * image_height * image_width * (whitened ? image_channels : shape.inputs), ONE);
  const int in_blocks = shape.in_blocks(), out_blocks = shape.out_blocks(), taps = shape.taps();
  const auto white = filled<bf16>(shape.inputs * 12, ONE), white_bias = filled<bf16>(shape.inputs, ONE), white_packed = filled<bf16>(in_blocks * CELL, 0);
  pack_whitening(shape.inputs, 12, white.get(), white_bias.get(), white_packed.get());
  const Images plain(chunks, images.get(), shape.height, shape.width, shape.inputs);
  const Whitened first(chunks, micro_kernel, images.get(), white_packed.get(), image_height, image_width, image_channels, kernel, 0, in_blocks, Activation::gelu, 1.f);
  const Source& source = whitened ? static_cast<const Source&>(first) : plain;

  const auto weights = filled<bf16>(int64_t(shape.outputs) * taps * shape.inputs, ONE);
  const bool transforms = forward_sides(shape).is_winograd(micro_kernel), transforms_back = backward_sides(shape).is_winograd(micro_kernel);
  const auto packed = filled<bf16>(int64_t(out_blocks) * in_blocks * (transforms ? winograd::POSITIONS : taps) * CELL, 0);
  const auto packed_back = filled<bf16>(int64_t(out_blocks) * in_blocks * (transforms_back ? winograd::POSITIONS : taps) * CELL, 0);
  pack_forward(shape, weights.get(), transforms, packed.get(), 2);
  pack_backward(shape, weights.get(), transforms_back, packed_back.get(), 2);

  const int64_t out = chunks.count() * shape.pooled_height() * shape.pooled_width() * out_blocks * CELL;
  const int64_t in = chunks.count() * shape.height * shape.width * in_blocks * CELL;
  const auto p = filled<bf16>(out, 0), g = filled<bf16>(out, ONE), before = filled<bf16>(in, 0), before_g = filled<bf16>(in, 0), extra = filled<bf16>(in, ONE);
  const auto places = filled<uint8_t>(out, 0);
  const auto sums = filled<float>(chunks.count() * 2 * out_blocks * 32, 0.f), before_sums = filled<float>(chunks.count() * 2 * in_blocks * 32, 0.f);
  forward(micro_kernel, shape, chunks, source, packed.get(), p.get(), shape.window() > 1 ? places.get() : nullptr, sums.get(), 2);

  const auto factors = filled<float>(chunks.groups() * 3 * out_blocks * 32, 1.f), scale = filled<float>(chunks.groups() * out_blocks * 32, 1.f);
  const int slices = int(std::min<int64_t>(chunks.count(), 3));
  const auto gradient = filled<float>(int64_t(slices) * out_blocks * in_blocks * taps * CELL, 0.f);
  backward(micro_kernel, shape, chunks, source,
           {g.get(), p.get(), shape.window() > 1 ? places.get() : nullptr, factors.get(), packed_back.get(), extra.get(), extra.get()},
           {gradient.get(), before.get(), before_g.get(), before_sums.get()}, slices, 2);
  const auto collected = filled<bf16>(int64_t(shape.outputs) * taps * shape.inputs, 0);
  collect_gradient(shape, slices, gradient.get(), collected.get(), 2);

  const Normalized inner(chunks, p.get(), scale.get(), scale.get(), shape.pooled_height(), shape.pooled_width(), out_blocks, Activation::silu, 1.f, nullptr, Normalized::Add::before);
  const Normalized last(chunks, p.get(), scale.get(), scale.get(), shape.pooled_height(), shape.pooled_width(), out_blocks, Activation::celu, .3f, &inner, Normalized::Add::after);
  const auto rows = filled<bf16>(chunks.images * shape.pooled_height() * shape.pooled_width() * shape.outputs, ONE);
  from_cells(chunks, last, shape.pooled_height(), shape.pooled_width(), shape.outputs, rows.get(), 2);
  into_cells(chunks, last, rows.get(), p.get(), shape.pooled_height(), shape.pooled_width(), shape.outputs, g.get(), g.get(), sums.get(), 2);
  double total = 0;
  for (int64_t i = 0; i < int64_t(shape.outputs) * taps * shape.inputs; i++) total += to_float(collected[i]);
  if (!std::isfinite(total)) abort();
}

void images(const Size& from, const Size& window, const Size& to, int cutout) {
  const int64_t count = 70, of = 3;
  const auto padded = filled<bf16>(of * from.values(), ONE), out = filled<bf16>(count * to.values(), 0);
  const auto order = filled<int64_t>(count, of - 1), top = filled<int64_t>(count, from.height - window.height);
  const auto left = filled<int64_t>(count, from.width - window.width);
  const auto cutout_top = filled<int64_t>(count, window.height - cutout), cutout_left = filled<int64_t>(count, window.width - cutout);
  const auto shift = filled<float>(count, .5f), scale = filled<float>(count, 2.f);
  const auto flip = filled<bool>(count, false);
  for (int64_t i = 0; i < count; i += 2) flip[i] = true;
  const Drawn all{order.get(), top.get(), left.get(), flip.get(), shift.get(), scale.get(), cutout_top.get(), cutout_left.get(), cutout};
  augment(padded.get(), from, all, window, to, count, out.get(), 2);
  for (int64_t i = 0; i < count * to.values(); i++)
    if (!(to_float(out[i]) >= 0 && to_float(out[i]) <= 3)) abort();
  const Drawn least{order.get(), top.get(), left.get(), nullptr, nullptr, nullptr, nullptr, nullptr, 0};
  augment(padded.get(), from, least, window, to, count, out.get(), 2);
}

int main() {
  images({9, 11, 3}, {5, 7, 3}, {5, 7, 3}, 2);
  images({36, 36, 3}, {32, 32, 3}, {24, 24, 3}, 8);
  images({7, 6, 1}, {7, 6, 1}, {9, 11, 1}, 0);
  images({8, 8, 5}, {6, 6, 5}, {1, 2, 5}, 6);
  for (const MicroKernel* micro_kernel : micro_kernels()) {
    if (!micro_kernel->is_supported()) continue;
    for (const Chunks& chunks : {Chunks{1, 1}, Chunks{37, 37}, Chunks{70, 20}, Chunks{64, 32}}) {
      if (micro_kernel == &emulated_amx && chunks.images > 37) continue;  // it is slow
      blocks(*micro_kernel, chunks, {5, 7, 3, 5, 3, 1, 1}, false);
      blocks(*micro_kernel, chunks, {9, 6, 24, 40, 3, 2, 2}, true);
      blocks(*micro_kernel, chunks, {6, 5, 33, 64, 5, 2, 2}, false);
      blocks(*micro_kernel, chunks, {4, 5, 64, 33, 1, 4, 5}, false);
      blocks(*micro_kernel, chunks, {10, 13, 40, 33, 3, 1, 1}, false);
      blocks(*micro_kernel, chunks, {13, 8, 33, 70, 3, 13, 8}, false);
    }
  }
  puts("done");
}
