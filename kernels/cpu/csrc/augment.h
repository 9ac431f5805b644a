// Crop, flip, brightness, contrast, cutout and resizing of many images in one pass.
#pragma once
#include <cstdint>

#include "vector.h"

namespace paceline {

// Of images that lie [height][width][channels].
struct Size {
  int height, width, channels;
  int64_t values() const { return int64_t(height) * width * channels; }
};

// What is drawn for each image, as in kernels/augment.py; null: that step is left out.
struct Drawn {
  const int64_t *order, *top, *left;
  const bool* flip;
  const float *shift, *scale;
  const int64_t *cutout_top, *cutout_left;
  int cutout;
};

// padded: images of the size `from`. From each of the `count` drawn a window of the size `window` is taken, and resized
// bilinearly to `to`, as torch does it without aligned corners.
void augment(const bf16* padded, const Size& from, const Drawn& drawn, const Size& window, const Size& to,
             int64_t count, bf16* out, int threads);

}  // namespace paceline
