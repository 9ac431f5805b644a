// Activations and their derivatives on 16 floats.
#pragma once
#include "vector.h"

namespace paceline {

enum class Activation { none, relu, celu, gelu, silu };  // the order of kernels/cpu/blocks.py

// The value, and in `slope` the derivative; the compiler drops what the caller does not use. alpha: of CELU.
template <Activation KIND>
inline Vector activate(Vector y, float alpha, Vector& slope) {
  if constexpr (KIND == Activation::relu) {
    slope = select(is_at_most(y, all(0.f)), all(0.f), all(1.f));
    return max(all(0.f), y);  // NaN stays NaN
  }
  if constexpr (KIND == Activation::celu) {
    const Vector e = exp2_fast(min(all(0.f), y) * all(1.44269504f / alpha));
    const Lanes positive = is_greater(y, all(0.f));
    slope = select(positive, all(1.f), e);
    return select(positive, y, all(alpha) * (e - all(1.f)));
  }
  if constexpr (KIND == Activation::gelu) {  // y * Phi(y), Phi by Abramowitz and Stegun 7.1.26
    const Vector bell = exp2_fast(y * y * all(-0.72134752f));  // exp(-y^2 / 2)
    const Vector t = reciprocal(fma(abs(y), all(0.23164190f), all(1.f)));
    Vector p = fma(all(0.53070271f), t, all(-0.72657602f));
    p = fma(fma(p, t, all(0.71070687f)), t, all(-0.14224837f));
    p = fma(p, t, all(0.12741480f)) * t * bell;  // Phi(-|y|)
    const Lanes positive = is_at_least(y, all(0.f));
    const Vector phi = select(positive, all(1.f) - p, p);
    slope = fma(y * bell, all(0.39894228f), phi);
    return y * phi;
  }
  if constexpr (KIND == Activation::silu) {
    const Vector e = exp2_fast(min(all(126.f), y * all(-1.44269504f)));
    const Vector s = reciprocal(e + all(1.f));
    slope = s * fma(y, all(1.f) - s, all(1.f));
    return y * s;
  }
  slope = all(1.f);
  return y;
}

}  // namespace paceline
