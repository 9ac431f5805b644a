// Arithmetic on 16 floats and conversion from and to bfloat16, whatever the instructions.
//
// `instructions.h` is that of the folder that is compiled, avx512_bf16/ or avx2/. It defines
//   Vector   16 floats, with + - * between them
//   Row      32 bfloat16: a row of a cell
//   Lanes    what a comparison of two `Vector` gives
//   Places   16 small integers, one for each lane
// and the functions on them. Memory that `load` reads and `store` writes is aligned to 64 bytes.
#pragma once
#include <cstdint>

namespace paceline {

using bf16 = uint16_t;

inline float to_float(bf16 value) {
  const uint32_t bits = uint32_t(value) << 16;
  float result;
  __builtin_memcpy(&result, &bits, 4);
  return result;
}

}  // namespace paceline

#include "instructions.h"

namespace paceline {

inline void prefetch(const void* from) { __builtin_prefetch(from); }

// 2^t within 5e-5. Below t = -80 the result stays at 2^-80: denormals would be slow. NaN stays NaN.
inline Vector exp2_fast(Vector t) {
  t = max(all(-80.f), t);
  const Vector n = round(t), f = t - n;
  Vector p = fma(all(0.0096181f), f, all(0.0555041f));
  p = fma(fma(p, f, all(0.2402265f)), f, all(0.6931472f));
  return times_power_of_2(fma(p, f, all(1.f)), n);
}

// 32 bfloat16 as floats
struct Floats {
  Vector even, odd;
  Floats() = default;
  Floats(Vector even, Vector odd) : even(even), odd(odd) {}
  explicit Floats(Row values) : even(even_of(values)), odd(odd_of(values)) {}
  Row rounded() const { return pack_alternating(even, odd); }
};
inline Floats operator+(const Floats& a, const Floats& b) { return {a.even + b.even, a.odd + b.odd}; }
inline Floats operator-(const Floats& a, const Floats& b) { return {a.even - b.even, a.odd - b.odd}; }
inline Floats operator*(float a, const Floats& b) { return {all(a) * b.even, all(a) * b.odd}; }

}  // namespace paceline
