// Activations and their derivatives on 16 floats.
#pragma once
#include "vector.h"

namespace paceline {

enum class Activation { none, relu, celu, gelu, silu };  // the order of kernels/cpu/blocks.py

// The value, and in `slope` the derivative; the compiler drops what the caller does not use. alpha: of CELU.
template <Activation KIND>
inline __m512 activate(__m512 y, float alpha, __m512& slope) {
  if constexpr (KIND == Activation::relu) {
    slope = _mm512_mask_mov_ps(all(1.f), _mm512_cmp_ps_mask(y, all(0.f), _CMP_LE_OQ), all(0.f));
    return _mm512_max_ps(all(0.f), y);  // NaN stays NaN
  }
  if constexpr (KIND == Activation::celu) {
    const __m512 e = exp2_fast(_mm512_mul_ps(_mm512_min_ps(all(0.f), y), all(1.44269504f / alpha)));
    const __mmask16 positive = _mm512_cmp_ps_mask(y, all(0.f), _CMP_GT_OQ);
    slope = _mm512_mask_mov_ps(e, positive, all(1.f));
    return _mm512_mask_mov_ps(_mm512_mul_ps(all(alpha), _mm512_sub_ps(e, all(1.f))), positive, y);
  }
  if constexpr (KIND == Activation::gelu) {  // y * Phi(y), Phi by Abramowitz and Stegun 7.1.26
    const __m512 bell = exp2_fast(_mm512_mul_ps(_mm512_mul_ps(y, y), all(-0.72134752f)));  // exp(-y^2 / 2)
    const __m512 t = _mm512_rcp14_ps(_mm512_fmadd_ps(_mm512_abs_ps(y), all(0.23164190f), all(1.f)));
    __m512 p = _mm512_fmadd_ps(all(0.53070271f), t, all(-0.72657602f));
    p = _mm512_fmadd_ps(_mm512_fmadd_ps(p, t, all(0.71070687f)), t, all(-0.14224837f));
    p = _mm512_mul_ps(_mm512_mul_ps(_mm512_fmadd_ps(p, t, all(0.12741480f)), t), bell);  // Phi(-|y|)
    const __mmask16 positive = _mm512_cmp_ps_mask(y, all(0.f), _CMP_GE_OQ);
    const __m512 phi = _mm512_mask_sub_ps(p, positive, all(1.f), p);
    slope = _mm512_fmadd_ps(_mm512_mul_ps(y, bell), all(0.39894228f), phi);
    return _mm512_mul_ps(y, phi);
  }
  if constexpr (KIND == Activation::silu) {
    const __m512 e = exp2_fast(_mm512_min_ps(all(126.f), _mm512_mul_ps(y, all(-1.44269504f))));
    const __m512 s = _mm512_rcp14_ps(_mm512_add_ps(e, all(1.f)));
    slope = _mm512_mul_ps(s, _mm512_fmadd_ps(y, _mm512_sub_ps(all(1.f), s), all(1.f)));
    return _mm512_mul_ps(y, s);
  }
  slope = all(1.f);
  return y;
}

}  // namespace paceline
