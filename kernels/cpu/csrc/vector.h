// Arithmetic on 16 floats and conversion from and to bfloat16.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace paceline {

using bf16 = uint16_t;

inline __m512 all(float value) { return _mm512_set1_ps(value); }

inline __m512 to_floats(__m256i values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}
// the first and the last 16 of 32 bfloat16
inline __m512 low(__m512i values) { return to_floats(_mm512_castsi512_si256(values)); }
inline __m512 high(__m512i values) { return to_floats(_mm512_extracti64x4_epi64(values, 1)); }
inline __m512i pack(__m512 first, __m512 last) { return (__m512i)_mm512_cvtne2ps_pbh(last, first); }

inline float to_float(bf16 value) {
  const uint32_t bits = uint32_t(value) << 16;
  float result;
  __builtin_memcpy(&result, &bits, 4);
  return result;
}

inline __mmask32 first_lanes(int count) { return count >= 32 ? ~__mmask32(0) : (__mmask32(1) << count) - 1; }

// 2^t within 5e-5. Below t = -80 the result stays at 2^-80: denormals would be slow. NaN stays NaN.
inline __m512 exp2_fast(__m512 t) {
  t = _mm512_max_ps(all(-80.f), t);  // the second operand is what comes out where one is NaN
  const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm512_sub_ps(t, n);
  __m512 p = _mm512_fmadd_ps(all(0.0096181f), f, all(0.0555041f));
  p = _mm512_fmadd_ps(_mm512_fmadd_ps(p, f, all(0.2402265f)), f, all(0.6931472f));
  return _mm512_scalef_ps(_mm512_fmadd_ps(p, f, all(1.f)), n);
}

// 16 x 16 32-bit values, transposed
inline void transpose16(const __m512i in[16], uint32_t* out) {
  __m512i r[16], t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    const __m512i a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88), d = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    _mm512_store_si512(out + i * 16, _mm512_shuffle_i32x4(a, c, 0x88));
    _mm512_store_si512(out + (i + 4) * 16, _mm512_shuffle_i32x4(b, d, 0x88));
    _mm512_store_si512(out + (i + 8) * 16, _mm512_shuffle_i32x4(a, c, 0xdd));
    _mm512_store_si512(out + (i + 12) * 16, _mm512_shuffle_i32x4(b, d, 0xdd));
  }
}

// The first 16 of 32 values, interleaved with the last 16.
inline __m512i zip_halves(__m512i values) {
  alignas(64) static constexpr uint16_t order[32] = {
      0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(order), values);
}

// Two rows of 32 values interleaved: (even[0], odd[0], even[1], ...), as two vectors.
inline void interleave(__m512i even, __m512i odd, __m512i& first, __m512i& last) {
  alignas(64) static constexpr uint16_t order[2][32] = {
      {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
      {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};
  first = _mm512_permutex2var_epi16(even, _mm512_load_si512(order[0]), odd);
  last = _mm512_permutex2var_epi16(even, _mm512_load_si512(order[1]), odd);
}

// 32 bfloat16 as floats
struct Floats {
  __m512 even, odd;
  Floats() = default;
  Floats(__m512 even, __m512 odd) : even(even), odd(odd) {}
  explicit Floats(__m512i values)
      : even(_mm512_castsi512_ps(_mm512_slli_epi32(values, 16))),
        odd(_mm512_castsi512_ps(_mm512_and_si512(values, _mm512_set1_epi32(int(0xffff0000))))) {}
  __m512i rounded() const { return zip_halves(pack(even, odd)); }
};
inline Floats operator+(const Floats& a, const Floats& b) { return {a.even + b.even, a.odd + b.odd}; }
inline Floats operator-(const Floats& a, const Floats& b) { return {a.even - b.even, a.odd - b.odd}; }
inline Floats operator*(float a, const Floats& b) { return {a * b.even, a * b.odd}; }

}  // namespace paceline
