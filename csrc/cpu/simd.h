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
constexpr int kHalves = 2;  // a register of floats fills as many of doubles

typedef double Doubles __attribute__((vector_size(kVectorBytes)));
typedef uint64_t Longs __attribute__((vector_size(kVectorBytes)));

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

// floats as doubles, from a register or, with fewer shuffles, from memory
#if C3ALIGN_SIMD == 64
C3_HD void widen_register(Vector::F a, Doubles* out) {
    out[0] = Doubles(_mm512_cvtps_pd(_mm512_castps512_ps256(__m512(a))));
    out[1] = Doubles(_mm512_cvtps_pd(_mm512_extractf32x8_ps(__m512(a), 1)));
}
C3_HD void widen_memory(const float* a, Doubles* out) {
    out[0] = Doubles(_mm512_cvtps_pd(_mm256_loadu_ps(a)));
    out[1] = Doubles(_mm512_cvtps_pd(_mm256_loadu_ps(a + 8)));
}
C3_HD Doubles fma_doubles(Doubles a, Doubles b, Doubles c) {
    return Doubles(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(c)));
}
#elif C3ALIGN_SIMD == 32
C3_HD void widen_register(Vector::F a, Doubles* out) {
    out[0] = Doubles(_mm256_cvtps_pd(_mm256_castps256_ps128(__m256(a))));
    out[1] = Doubles(_mm256_cvtps_pd(_mm256_extractf128_ps(__m256(a), 1)));
}
C3_HD void widen_memory(const float* a, Doubles* out) {
    out[0] = Doubles(_mm256_cvtps_pd(_mm_loadu_ps(a)));
    out[1] = Doubles(_mm256_cvtps_pd(_mm_loadu_ps(a + 4)));
}
C3_HD Doubles fma_doubles(Doubles a, Doubles b, Doubles c) {
    return Doubles(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(c)));
}
#else
C3_HD void widen_register(Vector::F a, Doubles* out) {
    out[0] = Doubles(vcvt_f64_f32(vget_low_f32(float32x4_t(a))));
    out[1] = Doubles(vcvt_high_f64_f32(float32x4_t(a)));
}
C3_HD void widen_memory(const float* a, Doubles* out) { widen_register(Vector::F(vld1q_f32(a)), out); }
C3_HD Doubles fma_doubles(Doubles a, Doubles b, Doubles c) {
    return Doubles(vfmaq_f64(float64x2_t(c), float64x2_t(a), float64x2_t(b)));
}
#endif

// Of every four lanes a0 b0 a1 b1, and a2 b2 a3 b3.
C3_HD void interleave(Vector::F a, Vector::F b, Vector::F* low, Vector::F* high) {
    Vector::I from_low, from_high;
    for (int i = 0; i < kFloats; ++i) {
        from_low[i] = i / 4 * 4 + i % 4 / 2 + i % 2 * kFloats;
        from_high[i] = from_low[i] + 2;
    }
    *low = __builtin_shuffle(a, b, from_low);
    *high = __builtin_shuffle(a, b, from_high);
}

#else

constexpr int kFloats = 1, kDoubles = 1, kHalves = 1;
typedef double Doubles;
typedef uint64_t Longs;
typedef Scalar Vector;

C3_HD void widen_register(float a, double* out) { *out = a; }
C3_HD void widen_memory(const float* a, double* out) { *out = *a; }
C3_HD double fma_doubles(double a, double b, double c) { return a * b + c; }  // of exact products alone

#endif

// The end of the reduction tree, from memory: what `reduce_slots` does, in registers that hold whole lanes.
#if defined(C3ALIGN_SIMD) && C3ALIGN_SIMD == 64

// Lane sums of four registers of slots a, b, c, d: a0 b0 a1 b1 c0 d0 c1 d1.
inline __m512d lanes_of_four(const double* slots) {
    const __m512d a = _mm512_loadu_pd(slots), b = _mm512_loadu_pd(slots + 8);
    const __m512d c = _mm512_loadu_pd(slots + 16), d = _mm512_loadu_pd(slots + 24);
    const __m512d t = _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
    const __m512d u = _mm512_add_pd(_mm512_unpacklo_pd(c, d), _mm512_unpackhi_pd(c, d));
    return _mm512_add_pd(_mm512_shuffle_f64x2(t, u, 0x88), _mm512_shuffle_f64x2(t, u, 0xDD));
}

inline double reduce_registers(const double* slots) {
    const __m512d x = _mm512_add_pd(_mm512_add_pd(lanes_of_four(slots), lanes_of_four(slots + 64)),   // distance 16
                                    _mm512_add_pd(lanes_of_four(slots + 32), lanes_of_four(slots + 96)));  // 8
    const __m256d y = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));  // 4
    const __m256d z = _mm256_add_pd(y, _mm256_permute_pd(y, 0b0101));                          // 2
    return _mm256_cvtsd_f64(z) + _mm_cvtsd_f64(_mm256_extractf128_pd(z, 1));                   // 1
}

#elif defined(C3ALIGN_SIMD) && C3ALIGN_SIMD == 32

inline __m256d lanes_of_four(const double* slots) {
    const __m256d t = _mm256_hadd_pd(_mm256_loadu_pd(slots), _mm256_loadu_pd(slots + 4));
    const __m256d u = _mm256_hadd_pd(_mm256_loadu_pd(slots + 8), _mm256_loadu_pd(slots + 12));
    return _mm256_add_pd(_mm256_permute2f128_pd(t, u, 0x20), _mm256_permute2f128_pd(t, u, 0x31));
}

inline double reduce_registers(const double* slots) {
    __m256d lanes[4];
    for (int k = 0; k < 4; ++k)
        lanes[k] = _mm256_add_pd(lanes_of_four(slots + 16 * k), lanes_of_four(slots + 16 * k + 64));  // distance 16
    const __m256d y = _mm256_add_pd(_mm256_add_pd(lanes[0], lanes[2]), _mm256_add_pd(lanes[1], lanes[3]));  // 8, 4
    const __m128d z = _mm_add_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));                   // 2
    return _mm_cvtsd_f64(z) + _mm_cvtsd_f64(_mm_unpackhi_pd(z, z));                                         // 1
}

#else

inline double reduce_registers(const double* slots) { return reduce_slots(slots); }

#endif

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
#if defined(C3ALIGN_SIMD) && C3ALIGN_SIMD >= 32
    int64_t j = 0;
    for (; j < n && reinterpret_cast<uintptr_t>(target + j) % kVectorBytes; ++j) target[j] = row[j] * factor;
    for (; j + kFloats <= n; j += kFloats) {
        Vector::F value;
        memcpy(&value, row + j, sizeof value);
        value = value * factor;
#if C3ALIGN_SIMD == 64
        _mm512_stream_ps(target + j, __m512(value));
#else
        _mm256_stream_ps(target + j, __m256(value));
#endif
    }
    for (; j < n; ++j) target[j] = row[j] * factor;
#else
    for (int64_t j = 0; j < n; ++j) target[j] = row[j] * factor;
#endif
}

// Before another thread may read what was streamed.
inline void finish_streams() {
#if defined(C3ALIGN_SIMD) && C3ALIGN_SIMD >= 32
    _mm_sfence();
#endif
}

template <typename V>
C3_HD void store(void* target, V value) {
    memcpy(target, &value, sizeof value);
}

// Adds a register to what lies in memory.
template <typename V>
C3_HD void increase(void* target, V value) {
    V before;
    memcpy(&before, target, sizeof before);
    store(target, before + value);
}

// What lies there is wanted soon; any address will do. It comes to the second cache: the first is full of rows in work.
inline void prefetch(const void* address) {
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
    static constexpr int lanes = kFloats, halves = kHalves;
    static C3_HD type load(const float* source) {
        type value;
        memcpy(&value, source, sizeof value);
        return value;
    }
    static C3_HD type multiply_add(type a, type b, type c) { return Vector::fma(a, b, c); }
    static C3_HD void widen(type a, Doubles* out) { widen_register(a, out); }
    static C3_HD void load_wide(const float* source, Doubles* out) { widen_memory(source, out); }
    // products of float32 are exact in float64, so that fusing them changes no bit
    static C3_HD Doubles add_product(Doubles a, Doubles b, Doubles total) { return fma_doubles(a, b, total); }
};

template <>
struct Register<double> {
    typedef Doubles type;
    static constexpr int lanes = kDoubles, halves = 1;
    static C3_HD type load(const double* source) {
        type value;
        memcpy(&value, source, sizeof value);
        return value;
    }
    static C3_HD type multiply_add(type a, type b, type c) { return a * b + c; }
    static C3_HD void widen(type a, Doubles* out) { *out = a; }
    static C3_HD void load_wide(const double* source, Doubles* out) { *out = load(source); }
    static C3_HD Doubles add_product(Doubles a, Doubles b, Doubles total) { return total + a * b; }
};

}  // namespace
}  // namespace c3align
