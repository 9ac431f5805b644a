// What vector.h names, for AVX2 and FMA (Haswell and later, Zen and later): two registers take the place of one, and
// bfloat16 is rounded by integer arithmetic.
#pragma once
#include <immintrin.h>

#include <cstring>

namespace paceline {

inline bool has_instructions() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

struct Vector {
  __m256 first, last;
};
struct Row {
  __m256i first, last;
};
struct Lanes {
  __m256 first, last;
};
struct Places {
  __m256i first, last;
};

inline Vector all(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
inline Vector load(const float* from) { return {_mm256_load_ps(from), _mm256_load_ps(from + 8)}; }
inline Vector load_unaligned(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline void store(float* to, Vector values) { _mm256_store_ps(to, values.first), _mm256_store_ps(to + 8, values.last); }
inline void store_unaligned(float* to, Vector values) {
  _mm256_storeu_ps(to, values.first), _mm256_storeu_ps(to + 8, values.last);
}

inline Vector operator+(Vector a, Vector b) { return {a.first + b.first, a.last + b.last}; }
inline Vector operator-(Vector a, Vector b) { return {a.first - b.first, a.last - b.last}; }
inline Vector operator*(Vector a, Vector b) { return {a.first * b.first, a.last * b.last}; }
inline Vector operator*(float a, Vector b) { return all(a) * b; }
inline Vector fma(Vector a, Vector b, Vector c) {
  return {_mm256_fmadd_ps(a.first, b.first, c.first), _mm256_fmadd_ps(a.last, b.last, c.last)};
}
// If either operand is NaN, the result is the second.
inline Vector min(Vector a, Vector b) { return {_mm256_min_ps(a.first, b.first), _mm256_min_ps(a.last, b.last)}; }
inline Vector max(Vector a, Vector b) { return {_mm256_max_ps(a.first, b.first), _mm256_max_ps(a.last, b.last)}; }
inline Vector abs(Vector a) {
  const __m256 sign = _mm256_set1_ps(-0.f);
  return {_mm256_andnot_ps(sign, a.first), _mm256_andnot_ps(sign, a.last)};
}
// By division: vrcpps has a relative error of 4e-4, a fifth of what rounding to bfloat16 adds.
inline Vector reciprocal(Vector a) {
  const __m256 one = _mm256_set1_ps(1.f);
  return {one / a.first, one / a.last};
}
inline Vector round(Vector a) {
  constexpr int NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.first, NEAREST), _mm256_round_ps(a.last, NEAREST)};
}
inline __m256 power_of_2(__m256 whole) {  // of -126 to 127
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
inline Vector times_power_of_2(Vector a, Vector whole) {
  return {a.first * power_of_2(whole.first), a.last * power_of_2(whole.last)};
}

template <int COMPARISON>
inline Lanes compare(Vector a, Vector b) {
  return {_mm256_cmp_ps(a.first, b.first, COMPARISON), _mm256_cmp_ps(a.last, b.last, COMPARISON)};
}
inline Lanes is_greater(Vector a, Vector b) { return compare<_CMP_GT_OQ>(a, b); }
inline Lanes is_at_least(Vector a, Vector b) { return compare<_CMP_GE_OQ>(a, b); }
inline Lanes is_at_most(Vector a, Vector b) { return compare<_CMP_LE_OQ>(a, b); }
inline Lanes is_nan(Vector a) { return compare<_CMP_UNORD_Q>(a, a); }
inline Lanes either(Lanes a, Lanes b) { return {_mm256_or_ps(a.first, b.first), _mm256_or_ps(a.last, b.last)}; }
inline Vector select(Lanes lanes, Vector yes, Vector no) {
  return {_mm256_blendv_ps(no.first, yes.first, lanes.first), _mm256_blendv_ps(no.last, yes.last, lanes.last)};
}

// 16 integers of -128 to 127 as bytes.
inline __m128i to_bytes(__m256i first, __m256i last) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, last), 0xd8);
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
inline Places no_place() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Places select(Lanes lanes, int yes, Places no) {
  const __m256i value = _mm256_set1_epi32(yes);
  return {_mm256_blendv_epi8(no.first, value, _mm256_castps_si256(lanes.first)),
          _mm256_blendv_epi8(no.last, value, _mm256_castps_si256(lanes.last))};
}
inline void store(uint8_t* to, Places places) { _mm_store_si128((__m128i*)to, to_bytes(places.first, places.last)); }
// to[i] = place, where the lanes are
inline void store_where(Lanes lanes, int place, uint8_t* to) {
  const __m128i where = to_bytes(_mm256_castps_si256(lanes.first), _mm256_castps_si256(lanes.last));
  const __m128i old = _mm_load_si128((const __m128i*)to);
  _mm_store_si128((__m128i*)to, _mm_blendv_epi8(old, _mm_set1_epi8(int8_t(place)), where));
}

inline Row all_bits(bf16 value) { return {_mm256_set1_epi16(int16_t(value)), _mm256_set1_epi16(int16_t(value))}; }
inline Row no_values() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline Row load(const bf16* from) {
  return {_mm256_load_si256((const __m256i*)from), _mm256_load_si256((const __m256i*)(from + 16))};
}
inline void store(bf16* to, Row values) {
  _mm256_store_si256((__m256i*)to, values.first), _mm256_store_si256((__m256i*)(to + 16), values.last);
}
// The first `count` values of memory that need not be aligned; zeros behind them.
inline Row load_first(int count, const bf16* from) {
  if (count >= 32) return {_mm256_loadu_si256((const __m256i*)from), _mm256_loadu_si256((const __m256i*)(from + 16))};
  alignas(64) bf16 values[32] = {};
  memcpy(values, from, size_t(count) * sizeof(bf16));
  return load(values);
}
inline void store_first(int count, bf16* to, Row row) {
  if (count >= 32) {
    _mm256_storeu_si256((__m256i*)to, row.first), _mm256_storeu_si256((__m256i*)(to + 16), row.last);
    return;
  }
  alignas(64) bf16 values[32];
  store(values, row);
  memcpy(to, values, size_t(count) * sizeof(bf16));
}
// The same of 32 floats.
inline void load_first(int count, const float* from, Vector& first, Vector& last) {
  if (count >= 32) {
    first = load_unaligned(from), last = load_unaligned(from + 16);
    return;
  }
  alignas(64) float values[32] = {};
  memcpy(values, from, size_t(count) * sizeof(float));
  first = load(values), last = load(values + 16);
}
inline void store_first(int count, float* to, Vector first, Vector last) {
  if (count >= 32) {
    store_unaligned(to, first), store_unaligned(to + 16, last);
    return;
  }
  alignas(64) float values[32];
  store(values, first), store(values + 16, last);
  memcpy(to, values, size_t(count) * sizeof(float));
}
// The values whose place is this one; zeros elsewhere.
inline Row keep_where(const uint8_t* places, int place, Row values) {
  const __m256i of_values = _mm256_load_si256((const __m256i*)places);
  const __m256i where = _mm256_cmpeq_epi8(of_values, _mm256_set1_epi8(int8_t(place)));
  return {_mm256_and_si256(values.first, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(where))),
          _mm256_and_si256(values.last, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(where, 1)))};
}
// `row` with values [first, beyond) of the memory from `from` on, `by` values further on.
inline Row insert(Row row, const bf16* from, int first, int beyond, int by) {
  alignas(64) bf16 values[32];
  store(values, row);
  for (int i = first; i < beyond; i++) values[i + by] = from[i];
  return load(values);
}

// The first and the last 16 as floats, and back.
inline __m256 to_floats(__m128i values) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(values), 16));
}
inline Vector to_floats(__m256i values) {
  return {to_floats(_mm256_castsi256_si128(values)), to_floats(_mm256_extracti128_si256(values, 1))};
}
inline Vector low(Row values) { return to_floats(values.first); }
inline Vector high(Row values) { return to_floats(values.last); }
// Rounded to the nearest bfloat16, of two the even one, in the upper half of each float's bits. NaN stays NaN.
inline __m256i rounded_bits(__m256 values) {
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i is_odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(is_odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q)));
}
inline __m256i pack(Vector values) {
  const __m256i first = _mm256_srli_epi32(rounded_bits(values.first), 16);
  const __m256i last = _mm256_srli_epi32(rounded_bits(values.last), 16);
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(first, last), 0xd8);
}
inline Row pack(Vector first, Vector last) { return {pack(first), pack(last)}; }

inline Row zip(__m256i even, __m256i odd) {
  const __m256i a = _mm256_unpacklo_epi16(even, odd), b = _mm256_unpackhi_epi16(even, odd);
  return {_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
}
// The first 16 of 32 values, interleaved with the last 16.
inline Row zip_halves(Row values) { return zip(values.first, values.last); }
// Those at even and at odd places as floats, and back.
inline Vector even_of(Row values) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(values.first, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(values.last, 16))};
}
inline Vector odd_of(Row values) {
  const __m256i upper = _mm256_set1_epi32(int(0xffff0000));
  return {_mm256_castsi256_ps(_mm256_and_si256(values.first, upper)), _mm256_castsi256_ps(_mm256_and_si256(values.last, upper))};
}
inline __m256i pack_alternating(__m256 even, __m256 odd) {
  return _mm256_blend_epi16(_mm256_srli_epi32(rounded_bits(even), 16), rounded_bits(odd), 0xaa);
}
inline Row pack_alternating(Vector even, Vector odd) {
  return {pack_alternating(even.first, odd.first), pack_alternating(even.last, odd.last)};
}

// Two rows interleaved, (even[0], odd[0], even[1], ...), as two rows.
inline void interleave(Row even, Row odd, Row& first, Row& last) {
  first = zip(even.first, odd.first), last = zip(even.last, odd.last);
}

// 8 x 8 pairs of values, transposed, to rows of 16 pairs from `to` on.
inline void transpose8(const __m256i (&in)[8], bf16* to) {
  __m256i r[8], t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(in[i], in[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(in[i], in[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]), r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]), r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    _mm256_store_si256((__m256i*)(to + i * 32), _mm256_permute2x128_si256(r[i], r[i + 4], 0x20));
    _mm256_store_si256((__m256i*)(to + (i + 4) * 32), _mm256_permute2x128_si256(r[i], r[i + 4], 0x31));
  }
}
// 16 rows as 16 x 16 pairs of values, transposed, one after the other to `to`.
inline void transpose16(const Row in[16], bf16* to) {
  for (int half = 0; half < 2; half++) {
    __m256i first[8], last[8];
    for (int i = 0; i < 8; i++) first[i] = in[half * 8 + i].first, last[i] = in[half * 8 + i].last;
    transpose8(first, to + half * 16), transpose8(last, to + 8 * 32 + half * 16);
  }
}

}  // namespace paceline
