// What vector.h names, for AVX-512 with conversions to bfloat16 (Zen 4 and later, Cooper Lake, Sapphire Rapids and later).
#pragma once
#include <immintrin.h>

namespace paceline {

inline bool has_instructions() { return __builtin_cpu_supports("avx512bf16"); }

using Vector = __m512;  // with GCC's operators + - *
using Row = __m512i;
using Lanes = __mmask16;
using Places = __m512i;

inline Vector all(float value) { return _mm512_set1_ps(value); }
inline Vector load(const float* from) { return _mm512_load_ps(from); }
inline Vector load_unaligned(const float* from) { return _mm512_loadu_ps(from); }
inline void store(float* to, Vector values) { _mm512_store_ps(to, values); }
inline void store_unaligned(float* to, Vector values) { _mm512_storeu_ps(to, values); }

inline Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
// If either operand is NaN, the result is the second.
inline Vector min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
inline Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
inline Vector abs(Vector a) { return _mm512_abs_ps(a); }
inline Vector reciprocal(Vector a) { return _mm512_rcp14_ps(a); }  // with a relative error of 6e-5
inline Vector round(Vector a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vector times_power_of_2(Vector a, Vector whole) { return _mm512_scalef_ps(a, whole); }

inline Lanes is_greater(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Lanes is_at_least(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
inline Lanes is_at_most(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
inline Lanes is_nan(Vector a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
inline Lanes either(Lanes a, Lanes b) { return a | b; }
inline Vector select(Lanes lanes, Vector yes, Vector no) { return _mm512_mask_mov_ps(no, lanes, yes); }

inline Places no_place() { return _mm512_setzero_si512(); }
inline Places select(Lanes lanes, int yes, Places no) { return _mm512_mask_mov_epi32(no, lanes, _mm512_set1_epi32(yes)); }
inline void store(uint8_t* to, Places places) { _mm_store_si128((__m128i*)to, _mm512_cvtepi32_epi8(places)); }
// to[i] = place, where the lanes are
inline void store_where(Lanes lanes, int place, uint8_t* to) {
  const __m128i old = _mm_load_si128((const __m128i*)to);
  _mm_store_si128((__m128i*)to, _mm_mask_mov_epi8(old, lanes, _mm_set1_epi8(int8_t(place))));
}

inline Row all_bits(bf16 value) { return _mm512_set1_epi16(int16_t(value)); }
inline Row no_values() { return _mm512_setzero_si512(); }
inline Row load(const bf16* from) { return _mm512_load_si512(from); }
inline void store(bf16* to, Row values) { _mm512_store_si512(to, values); }

inline __mmask32 first_lanes(int count) { return count >= 32 ? ~__mmask32(0) : (__mmask32(1) << count) - 1; }
// The first `count` values of memory that need not be aligned; zeros behind them.
inline Row load_first(int count, const bf16* from) { return _mm512_maskz_loadu_epi16(first_lanes(count), from); }
inline void store_first(int count, bf16* to, Row values) { _mm512_mask_storeu_epi16(to, first_lanes(count), values); }
// The same of 32 floats.
inline void load_first(int count, const float* from, Vector& first, Vector& last) {
  const __mmask32 lanes = first_lanes(count);
  first = _mm512_maskz_loadu_ps(__mmask16(lanes), from), last = _mm512_maskz_loadu_ps(__mmask16(lanes >> 16), from + 16);
}
inline void store_first(int count, float* to, Vector first, Vector last) {
  const __mmask32 lanes = first_lanes(count);
  _mm512_mask_storeu_ps(to, __mmask16(lanes), first), _mm512_mask_storeu_ps(to + 16, __mmask16(lanes >> 16), last);
}
// The values whose place is this one; zeros elsewhere.
inline Row keep_where(const uint8_t* places, int place, Row values) {
  const __m256i of_values = _mm256_load_si256((const __m256i*)places);
  return _mm512_maskz_mov_epi16(_mm256_cmpeq_epi8_mask(of_values, _mm256_set1_epi8(int8_t(place))), values);
}
// `row` with values [first, beyond) of the memory from `from` on, `by` values further on.
inline Row insert(Row row, const bf16* from, int first, int beyond, int by) {
  alignas(64) static constexpr uint16_t lane[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                                    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  const __mmask32 inside = first_lanes(beyond) & ~first_lanes(first);
  const __m512i order = _mm512_sub_epi16(_mm512_load_si512(lane), _mm512_set1_epi16(int16_t(by)));
  return _mm512_mask_permutexvar_epi16(row, inside << by, order, _mm512_maskz_loadu_epi16(inside, from));
}

// The first and the last 16 as floats, and back.
inline Vector to_floats(__m256i values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}
inline Vector low(Row values) { return to_floats(_mm512_castsi512_si256(values)); }
inline Vector high(Row values) { return to_floats(_mm512_extracti64x4_epi64(values, 1)); }
inline Row pack(Vector first, Vector last) { return (__m512i)_mm512_cvtne2ps_pbh(last, first); }

// The first 16 of 32 values, interleaved with the last 16.
inline Row zip_halves(Row values) {
  alignas(64) static constexpr uint16_t order[32] = {
      0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(order), values);
}
// Those at even and at odd places as floats, and back.
inline Vector even_of(Row values) { return _mm512_castsi512_ps(_mm512_slli_epi32(values, 16)); }
inline Vector odd_of(Row values) { return _mm512_castsi512_ps(_mm512_and_si512(values, _mm512_set1_epi32(int(0xffff0000)))); }
inline Row pack_alternating(Vector even, Vector odd) { return zip_halves(pack(even, odd)); }

// Two rows interleaved, (even[0], odd[0], even[1], ...), as two rows.
inline void interleave(Row even, Row odd, Row& first, Row& last) {
  alignas(64) static constexpr uint16_t order[2][32] = {
      {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
      {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};
  first = _mm512_permutex2var_epi16(even, _mm512_load_si512(order[0]), odd);
  last = _mm512_permutex2var_epi16(even, _mm512_load_si512(order[1]), odd);
}

// 16 rows as 16 x 16 pairs of values, transposed, one after the other to `to`.
inline void transpose16(const Row in[16], bf16* to) {
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
    _mm512_store_si512(to + i * 32, _mm512_shuffle_i32x4(a, c, 0x88));
    _mm512_store_si512(to + (i + 4) * 32, _mm512_shuffle_i32x4(b, d, 0x88));
    _mm512_store_si512(to + (i + 8) * 32, _mm512_shuffle_i32x4(a, c, 0xdd));
    _mm512_store_si512(to + (i + 12) * 32, _mm512_shuffle_i32x4(b, d, 0xdd));
  }
}

}  // namespace paceline
