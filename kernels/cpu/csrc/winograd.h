// Winograd's minimal filtering F(4x4, 3x3): 36 products for 4 x 4 outputs of a 3 x 3 convolution in place of 144.
//
// output = A'[(G weights G') * (B' input B)]A, where * multiplies position by position: Lavin & Gray, "Fast Algorithms
// for Convolutional Neural Networks" (2016). The weights' gradient is G'[(A gradient A') * (B' input B)]G.
//
// Transforms are computed in float32; what is multiplied is rounded to bfloat16 after them. The error depends on the points
// that the transforms are made from. With 0, 2/3, -2/3, 3/2, -3/2 and infinity, of the form that Alam et al. recommend
// ("Winograd Convolution for Deep Neural Networks: Efficient Point Selection", 2022), it is 1.1% of the result's standard
// deviation.
#pragma once
#include "micro_kernel.h"

namespace paceline::winograd {

constexpr int TILE = 4, WEIGHTS = 3, SIDE = 6, POSITIONS = SIDE * SIDE;  // outputs, weights and positions along a side

constexpr float P = 2 / 3.f, Q = 3 / 2.f, P2 = P * P, Q2 = Q * Q;  // the points
static_assert(P * Q == 1);  // a factor that `Input` and `Weights` leave out
constexpr float BY_P = 1 / (2 * P2 * (P2 - Q2)), BY_Q = 1 / (2 * Q2 * (Q2 - P2));

// The transforms along one side, of vectors.
struct Input {  // B'
  static constexpr int FROM = SIDE, TO = SIDE;
  template <class T> static void side(const T (&d)[FROM], T (&to)[TO]) {
    const T even_p = d[4] - Q2 * d[2], odd_p = d[3] - Q2 * d[1], even_q = d[4] - P2 * d[2], odd_q = d[3] - P2 * d[1];
    to[0] = d[0] + d[4] - (P2 + Q2) * d[2];
    to[1] = even_p + P * odd_p, to[2] = even_p - P * odd_p;
    to[3] = even_q + Q * odd_q, to[4] = even_q - Q * odd_q;
    to[5] = d[1] + d[5] - (P2 + Q2) * d[3];
  }
};
struct Weights {  // G
  static constexpr int FROM = WEIGHTS, TO = SIDE;
  template <class T> static void side(const T (&g)[FROM], T (&to)[TO]) {
    const T even_p = BY_P * g[0] + BY_P * P2 * g[2], even_q = BY_Q * g[0] + BY_Q * Q2 * g[2];
    to[0] = g[0];
    to[1] = even_p + BY_P * P * g[1], to[2] = even_p - BY_P * P * g[1];
    to[3] = even_q + BY_Q * Q * g[1], to[4] = even_q - BY_Q * Q * g[1];
    to[5] = g[2];
  }
};
struct Output {  // A'
  static constexpr int FROM = SIDE, TO = TILE;
  template <class T> static void side(const T (&m)[FROM], T (&to)[TO]) {
    const T even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
    to[0] = m[0] + even_p + even_q;
    to[1] = P * odd_p + Q * odd_q;
    to[2] = P2 * even_p + Q2 * even_q;
    to[3] = P2 * P * odd_p + Q2 * Q * odd_q + m[5];
  }
};
struct OutputTransposed {  // A
  static constexpr int FROM = TILE, TO = SIDE;
  template <class T> static void side(const T (&g)[FROM], T (&to)[TO]) {
    const T even_p = g[0] + P2 * g[2], odd_p = g[1] + P2 * g[3], even_q = g[0] + Q2 * g[2], odd_q = g[1] + Q2 * g[3];
    to[0] = g[0];
    to[1] = even_p + P * odd_p, to[2] = even_p - P * odd_p;
    to[3] = even_q + Q * odd_q, to[4] = even_q - Q * odd_q;
    to[5] = g[3];
  }
};
struct WeightsTransposed {  // G'
  static constexpr int FROM = SIDE, TO = WEIGHTS;
  template <class T> static void side(const T (&m)[FROM], T (&to)[TO]) {
    const T even_p = BY_P * (m[1] + m[2]), odd_p = BY_P * (m[1] - m[2]);
    const T even_q = BY_Q * (m[3] + m[4]), odd_q = BY_Q * (m[3] - m[4]);
    to[0] = m[0] + even_p + even_q;
    to[1] = P * odd_p + Q * odd_q;
    to[2] = P2 * even_p + Q2 * even_q + m[5];
  }
};

// A transform along both sides: store(y, x, value) of all values that load(y, x) gives.
template <class Transform, class Load, class Store>
inline void transform(Load load, Store store) {
  using T = decltype(load(0, 0));
  T half[Transform::FROM][Transform::TO];
#pragma GCC unroll 6
  for (int y = 0; y < Transform::FROM; y++) {
    T row[Transform::FROM];
#pragma GCC unroll 6
    for (int x = 0; x < Transform::FROM; x++) row[x] = load(y, x);
    Transform::side(row, half[y]);
  }
#pragma GCC unroll 6
  for (int x = 0; x < Transform::TO; x++) {
    T column[Transform::FROM], result[Transform::TO];
#pragma GCC unroll 6
    for (int y = 0; y < Transform::FROM; y++) column[y] = half[y][x];
    Transform::side(column, result);
#pragma GCC unroll 6
    for (int y = 0; y < Transform::TO; y++) store(y, x, result[y]);
  }
}

// SIZE x SIZE cells of an image from pixel (top, left) on; `nothing` outside of it, and from row `bottom` and column `right` on.
template <int SIZE>
struct Patch {
  const bf16* pixels[SIZE][SIZE];

  // width: pixels from row to row; stride: values from pixel to pixel.
  Patch(const bf16* image, int width, int64_t stride, int top, int left, int bottom, int right) {
    alignas(64) static constexpr bf16 nothing[CELL] = {};
    for (int y = top; y < top + SIZE; y++)
      for (int x = left; x < left + SIZE; x++) {
        const bool is_inside = y >= 0 && y < bottom && x >= 0 && x < right;
        pixels[y - top][x - left] = is_inside ? image + (int64_t(y) * width + x) * stride : nothing;
      }
  }
  Floats at(int y, int x, int value) const { return Floats(load(pixels[y][x] + value)); }
};

// What the tile from (top, left) on reads, transformed: the first `values` values of each cell to to[position * to_stride].
inline void transform_input(const bf16* image, int height, int width, int64_t stride, int top, int left, int values,
                            bf16* to, int64_t to_stride) {
  const Patch<SIDE> patch(image, width, stride, top - 1, left - 1, height, width);
  for (int at = 0; at < values; at += 32)
    transform<Input>([&](int y, int x) { return patch.at(y, x, at); },
                     [&](int y, int x, const Floats& value) {
                       store(to + (y * SIDE + x) * to_stride + at, value.rounded());
                     });
}

}  // namespace paceline::winograd
