#include "augment.h"

#include <cstring>
#include <vector>

#include "parallel.h"

namespace paceline {
namespace {

constexpr int64_t IMAGES_AT_ONCE = 64;
constexpr int OVERSHOOT = 4;  // floats behind a line that a vector of one pixel's channels may touch

// Of each pixel of a resized line: the two pixels that it lies between, and the weight of the second.
struct Taps {
  std::vector<int> first, second;
  std::vector<float> weight;
  Taps(int inputs, int outputs) {
    const float scale = float(inputs) / float(outputs);
    for (int output = 0; output < outputs; output++) {
      const float at = std::max(0.f, scale * (float(output) + .5f) - .5f);
      first.push_back(std::min(int(at), inputs - 1));
      second.push_back(std::min(first.back() + 1, inputs - 1));
      weight.push_back(std::min(std::max(at - float(first.back()), 0.f), 1.f));
    }
  }
};

// (values + shift) * scale, rounded once.
void brighten(const bf16* from, int count, const float* shift, const float* scale, bf16* to) {
  for (int k = 0; k < count; k += 32) {
    const Row values = load_first(count - k, from + k);
    Vector first = low(values), last = high(values);
    if (shift) first = first + all(*shift), last = last + all(*shift);
    if (scale) first = first * all(*scale), last = last * all(*scale);
    store_first(count - k, to + k, pack(first, last));
  }
}

// (1 - weight) * first + weight * second
void blend(const bf16* first, const bf16* second, float weight, int count, float* to) {
  for (int k = 0; k < count; k += 32) {
    const Row a = load_first(count - k, first + k), b = load_first(count - k, second + k);
    const Vector front = fma(low(b), all(weight), low(a) * all(1 - weight));
    const Vector back = fma(high(b), all(weight), high(a) * all(1 - weight));
    store_first(count - k, to + k, front, back);
  }
}

// A line at another width. Four channels at a time are written, those beyond the last over the pixel that comes next.
void resize_line(const float* line, const Taps& taps, int channels, float* to) {
  for (size_t x = 0; x < taps.first.size(); x++) {
    const float *first = line + taps.first[x] * channels, *second = line + taps.second[x] * channels;
    const __m128 weight = _mm_set1_ps(taps.weight[x]), rest = _mm_set1_ps(1 - taps.weight[x]);
    for (int c = 0; c < channels; c += 4)
      _mm_storeu_ps(to + x * channels + c,
                    _mm_fmadd_ps(_mm_loadu_ps(second + c), weight, _mm_mul_ps(_mm_loadu_ps(first + c), rest)));
  }
}

void round_line(const float* line, int count, bf16* to) {
  for (int k = 0; k < count; k += 32) {
    Vector first, last;
    load_first(count - k, line + k, first, last);
    store_first(count - k, to + k, pack(first, last));
  }
}

// The window of an image, with all that is drawn for it. spare: a line.
void take(const bf16* image, const Size& from, const Drawn& drawn, int64_t i, const Size& window, bf16* spare, bf16* to) {
  const int line = window.width * window.channels, channels = window.channels;
  const bool flips = drawn.flip && drawn.flip[i];
  const float *shift = drawn.shift ? drawn.shift + i : nullptr, *scale = drawn.scale ? drawn.scale + i : nullptr;
  for (int y = 0; y < window.height; y++, to += line) {
    const bf16* source = image + ((drawn.top[i] + y) * from.width + drawn.left[i]) * channels;
    if (shift || scale) {
      brighten(source, line, shift, scale, flips ? spare : to);
      source = spare;
    } else if (!flips) {
      memcpy(to, source, line * sizeof(bf16));
    }
    if (flips)
      for (int x = 0; x < window.width; x++)
        for (int c = 0; c < channels; c++) to[x * channels + c] = source[(window.width - 1 - x) * channels + c];
    if (drawn.cutout_top && y >= drawn.cutout_top[i] && y < drawn.cutout_top[i] + drawn.cutout)
      memset(to + drawn.cutout_left[i] * channels, 0, drawn.cutout * channels * sizeof(bf16));
  }
}

}  // namespace

void augment(const bf16* padded, const Size& from, const Drawn& drawn, const Size& window, const Size& to,
             int64_t count, bf16* out, int threads) {
  const bool resizes = window.height != to.height || window.width != to.width;
  const Taps rows(window.height, to.height), columns(window.width, to.width);
  const int line = window.width * window.channels, resized_line = to.width * to.channels;
  parallel((count + IMAGES_AT_ONCE - 1) / IMAGES_AT_ONCE, threads, [&](Next next) {
    const auto spare = scratch<bf16>(line), taken = scratch<bf16>(resizes ? window.values() : 0);
    const auto blended = scratch<float>(line + OVERSHOOT), resized = scratch<float>(resized_line + OVERSHOOT);
    memset(blended.get() + line, 0, OVERSHOOT * sizeof(float));
    for (int64_t piece; next(piece);)
      for (int64_t i = piece * IMAGES_AT_ONCE; i < std::min(count, (piece + 1) * IMAGES_AT_ONCE); i++) {
        bf16* const result = out + i * to.values();
        take(padded + drawn.order[i] * from.values(), from, drawn, i, window, spare.get(), resizes ? taken.get() : result);
        for (int y = 0; resizes && y < to.height; y++) {
          blend(taken.get() + rows.first[y] * line, taken.get() + rows.second[y] * line, rows.weight[y], line, blended.get());
          resize_line(blended.get(), columns, to.channels, resized.get());
          round_line(resized.get(), resized_line, result + y * resized_line);
        }
      }
  });
}

}  // namespace paceline
