// Where images lie: in cells of 32 images x 32 channels, [chunk][pixel][channel block][32 images][32 channels].
#pragma once
#include <algorithm>

#include "micro_kernel.h"

namespace paceline {

// A chunk is up to 32 consecutive images of one group; a batch norm takes its statistics over a group.
struct Chunks {
  int64_t images, group;  // the last group may be smaller

  int64_t per_group() const { return (std::min(group, images) + 31) / 32; }
  int64_t groups() const { return (images + group - 1) / group; }
  int64_t count() const {
    const int64_t whole = images / group, rest = images % group;
    return whole * per_group() + (rest + 31) / 32;
  }
  int64_t group_of(int64_t chunk) const { return chunk / per_group(); }
  int64_t first(int64_t chunk) const { return group_of(chunk) * group + chunk % per_group() * 32; }
  int rows(int64_t chunk) const {
    const int64_t group_end = std::min((group_of(chunk) + 1) * group, images);
    return int(std::min<int64_t>(32, group_end - first(chunk)));
  }
};

// A convolution of stride 1 that keeps the size of the image, and the max-pool after it.
struct Shape {
  int height, width, inputs;       // of the input; channels
  int outputs, kernel;             // channels; side of the kernel, odd
  int window_height, window_width; // of the pool: 1 x 1 (none), 2 x 2, or the whole image

  int in_blocks() const { return (inputs + 31) / 32; }
  int out_blocks() const { return (outputs + 31) / 32; }
  int pooled_height() const { return height / window_height; }
  int pooled_width() const { return width / window_width; }
  // what the pool sees of the convolution's output: not the rows and columns that are left over
  int seen_height() const { return pooled_height() * window_height; }
  int seen_width() const { return pooled_width() * window_width; }
  int window() const { return window_height * window_width; }
  bool pools_squares() const { return window_height == 2 && window_width == 2; }
  int taps() const { return kernel * kernel; }
  int border() const { return kernel / 2; }
};

inline int channels_in(int channels, int block) { return std::min(32, channels - block * 32); }

}  // namespace paceline
