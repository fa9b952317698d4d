// Registers of the instruction set that this file is compiled for, behind the primitives of `core/lanes.h`, and one
// column at a time where there are none. GCC's and Clang's vector types give the operators; intrinsics remain where
// those have none.
#pragma once

#include "../core/lanes.h"
#include "../core/row.h"

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

#if defined(C3ALIGN_SIMD) && defined(__GNUC__) && !defined(__clang__)
// of GCC's own _mm512_undefined_epi32
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace c3align {
namespace {  // each instruction set has types of its own, under the same names

#if defined(C3ALIGN_SIMD)

constexpr int kVectorBytes = C3ALIGN_SIMD, kFloats = kVectorBytes / 4, kDoubles = kVectorBytes / 8;

typedef double Doubles __attribute__((vector_size(kVectorBytes)));
typedef uint64_t Longs __attribute__((vector_size(kVectorBytes)));
typedef float HalfFloats __attribute__((vector_size(kVectorBytes / 2)));  // as many as Doubles

struct Vector {
    typedef float F __attribute__((vector_size(kVectorBytes)));
    typedef int32_t I __attribute__((vector_size(kVectorBytes)));
    typedef uint32_t U __attribute__((vector_size(kVectorBytes)));
    typedef uint64_t W __attribute__((vector_size(kVectorBytes)));

    static C3_HD F splat(float a) { return F{} + a; }
    static C3_HD I splat(int32_t a) { return I{} + a; }
    static C3_HD W splat(uint64_t a) { return W{} + a; }
    static C3_HD F to_float(I a) { return __builtin_convertvector(a, F); }
    static C3_HD I has_bit(U a, uint32_t bit) { return I((a & bit) != 0); }
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

// Of every four lanes a0 b0 a1 b1, and a2 b2 a3 b3.
C3_HD void interleave(Vector::F a, Vector::F b, Vector::F* low, Vector::F* high) {
#if C3ALIGN_SIMD == 64
    *low = Vector::F(_mm512_unpacklo_ps(__m512(a), __m512(b)));
    *high = Vector::F(_mm512_unpackhi_ps(__m512(a), __m512(b)));
#elif C3ALIGN_SIMD == 32
    *low = Vector::F(_mm256_unpacklo_ps(__m256(a), __m256(b)));
    *high = Vector::F(_mm256_unpackhi_ps(__m256(a), __m256(b)));
#else
    *low = Vector::F(vzip1q_f32(float32x4_t(a), float32x4_t(b)));
    *high = Vector::F(vzip2q_f32(float32x4_t(a), float32x4_t(b)));
#endif
}

#else

constexpr int kFloats = 1, kDoubles = 1;
typedef double Doubles;
typedef uint64_t Longs;
typedef float HalfFloats;
typedef Scalar Vector;

#endif

template <typename V>
C3_HD void store(void* target, V value) {
    memcpy(target, &value, sizeof value);
}

C3_HD Vector::F load(const float* source) {
    Vector::F value;
    memcpy(&value, source, sizeof value);
    return value;
}
C3_HD Doubles load(const double* source) {
    Doubles value;
    memcpy(&value, source, sizeof value);
    return value;
}

C3_HD HalfFloats load_half(const float* source) {
    HalfFloats value;
    memcpy(&value, source, sizeof value);
    return value;
}
C3_HD Doubles widened(HalfFloats a) {
#if defined(C3ALIGN_SIMD)
    return __builtin_convertvector(a, Doubles);
#else
    return a;
#endif
}

// Copies past the caches: for results larger than they are, which nobody reads soon. Heads and tails that are not
// whole aligned registers are stored as usual.
inline void stream_copy(void* target, const void* source, size_t n_bytes) {
#if defined(C3ALIGN_SIMD) && C3ALIGN_SIMD >= 32
    char* to = static_cast<char*>(target);
    const char* from = static_cast<const char*>(source);
    size_t head = size_t(-reinterpret_cast<uintptr_t>(to)) % kVectorBytes;
    if (head > n_bytes) head = n_bytes;
    memcpy(to, from, head);
    size_t i = head;
    for (; i + kVectorBytes <= n_bytes; i += kVectorBytes) {
        Longs value;
        memcpy(&value, from + i, sizeof value);
#if C3ALIGN_SIMD == 64
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), __m512i(value));
#else
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i), __m256i(value));
#endif
    }
    memcpy(to + i, from + i, n_bytes - i);
#else
    memcpy(target, source, n_bytes);
#endif
}

// The same for a row times a factor.
inline void stream_scaled(float* target, const float* row, float factor, int64_t n) {
    int64_t j = 0;
#if defined(C3ALIGN_SIMD) && C3ALIGN_SIMD >= 32
    for (; j < n && reinterpret_cast<uintptr_t>(target + j) % kVectorBytes; ++j) target[j] = row[j] * factor;
    for (; j + kFloats <= n; j += kFloats) {
        const Vector::F value = load(row + j) * factor;
#if C3ALIGN_SIMD == 64
        _mm512_stream_ps(target + j, __m512(value));
#else
        _mm256_stream_ps(target + j, __m256(value));
#endif
    }
#endif
    for (; j < n; ++j) target[j] = row[j] * factor;
}

// Before another thread may read what was streamed.
inline void finish_streams() {
#if defined(C3ALIGN_SIMD) && C3ALIGN_SIMD >= 32
    _mm_sfence();
#endif
}

// Adds a register to what lies in memory.
template <typename V>
C3_HD void increase(void* target, V value) {
    V before;
    memcpy(&before, target, sizeof before);
    store(target, before + value);
}

// What lies there is wanted soon; any address will do. It comes to the second cache: the first is full of rows in work.
// Always inlined: gcc deletes the calls of a function that does nothing else.
C3_HD void prefetch(const void* address) {
#if defined(__GNUC__)
    __builtin_prefetch(address, 0, 2);
#else
    (void)address;
#endif
}

template <typename T>
struct Register;

template <>
struct Register<float> {
    typedef Vector::F type;
    static constexpr int lanes = kFloats;
    static C3_HD type multiply_add(type a, type b, type c) { return Vector::fma(a, b, c); }
};

template <>
struct Register<double> {
    typedef Doubles type;
    static constexpr int lanes = kDoubles;
    static C3_HD type multiply_add(type a, type b, type c) { return a * b + c; }
};

}  // namespace
}  // namespace c3align
