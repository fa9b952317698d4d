// Registers of the instruction set that this file is compiled for, behind the primitives of `core/lanes.h`.
// GCC's and Clang's vector types give the operators; intrinsics remain where those have none.
#pragma once

#include "../core/lanes.h"

#if defined(__AVX512F__)
#define C3ALIGN_SIMD 64  // bytes of a register
#include <immintrin.h>
#elif defined(__AVX2__) && defined(__FMA__)
#define C3ALIGN_SIMD 32
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#define C3ALIGN_SIMD 16
#include <arm_neon.h>
#endif

#if defined(C3ALIGN_SIMD)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC's own _mm512_undefined_epi32
#endif

namespace c3align {
namespace {  // each instruction set has types of its own, under the same names

constexpr int kVectorBytes = C3ALIGN_SIMD, kFloats = kVectorBytes / 4, kDoubles = kVectorBytes / 8;

struct Vector {
    typedef float F __attribute__((vector_size(kVectorBytes)));
    typedef int32_t I __attribute__((vector_size(kVectorBytes)));
    typedef uint32_t U __attribute__((vector_size(kVectorBytes)));
    typedef uint64_t W __attribute__((vector_size(kVectorBytes)));

    static C3_HD F splat(float a) { return F{} + a; }
    static C3_HD I splat(int32_t a) { return I{} + a; }
    static C3_HD W splat(uint64_t a) { return W{} + a; }
    static C3_HD F to_float(I a) { return __builtin_convertvector(a, F); }
    static C3_HD I bits(F a) { return I(a); }
    static C3_HD F from_bits(I a) { return F(a); }
    static C3_HD I select(I choose, I a, I b) { return choose ? a : b; }
    static C3_HD F select(I choose, F a, F b) { return choose ? a : b; }

#if C3ALIGN_SIMD == 64
    static C3_HD F fma(F a, F b, F c) { return F(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c))); }
    static C3_HD F sqrt(F a) { return F(_mm512_sqrt_ps(__m512(a))); }
    static C3_HD W multiply_words(W a, uint32_t b) {
        return W(_mm512_mul_epu32(__m512i(a), _mm512_set1_epi64(int64_t(b))));
    }
#elif C3ALIGN_SIMD == 32
    static C3_HD F fma(F a, F b, F c) { return F(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c))); }
    static C3_HD F sqrt(F a) { return F(_mm256_sqrt_ps(__m256(a))); }
    static C3_HD W multiply_words(W a, uint32_t b) {
        return W(_mm256_mul_epu32(__m256i(a), _mm256_set1_epi64x(int64_t(b))));
    }
#else
    static C3_HD F fma(F a, F b, F c) { return F(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b))); }
    static C3_HD F sqrt(F a) { return F(vsqrtq_f32(float32x4_t(a))); }
    static C3_HD W multiply_words(W a, uint32_t b) {
        return W(vmull_u32(vmovn_u64(uint64x2_t(a)), vdup_n_u32(b)));
    }
#endif
};

// a0 b0 a1 b1 ... of the lower, and of the upper half of the lanes.
C3_HD void interleave(Vector::F a, Vector::F b, Vector::F* low, Vector::F* high) {
    Vector::I from_low, from_high;
    for (int i = 0; i < kFloats; ++i) {
        from_low[i] = i / 2 + (i % 2) * kFloats;
        from_high[i] = from_low[i] + kFloats / 2;
    }
    *low = __builtin_shuffle(a, b, from_low);
    *high = __builtin_shuffle(a, b, from_high);
}

}  // namespace
}  // namespace c3align
#endif
