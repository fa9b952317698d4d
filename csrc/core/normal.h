// Standard normals from random words by Box-Muller, with our own logarithm, sine and cosine, so that every
// device gives the same bits. Each V::fma and each operator below is one IEEE rounding: no compiler may fuse more
// (-ffp-contract=off, --fmad=false). Coefficients: c3align/ops/reference.py, where their errors are stated.
#pragma once

#include "philox.h"

namespace c3align {

// (word + 1/2) * scale for a scale that is a power of two: fused or not, the one rounding is the same.
template <class V>
C3_HD typename V::F middle_of(typename V::I word, float scale) {
    return V::fma(V::to_float(word), V::splat(scale), V::splat(scale / 2));
}

// For -2 log(u), u = (word + 1/2) / 2^32: u as (1 + f) times a power of two, of which the argument of the reference's
// polynomial of log(1 + f) is f; here g = -2 f, and the power as bits of an exponent. `twice` is twice the distance to
// the nearer end of (0, 1), so that u near 0 and 1 - u near 0 both keep full relative precision: a word >= 0 means the
// distance is u, else 1 - u.
constexpr int32_t kSqrtTwoBits = 0x3FB504F3, kOne = 1 << 23;  // of an exponent
constexpr float kHalved = 2 * 0.29289323f;                    // `twice` above it, 1 - u: u < sqrt(1/2)

template <class V>
C3_HD void split_log(typename V::I word, typename V::F* g, typename V::I* exponent) {
    using F = typename V::F;
    using I = typename V::I;
    const auto lower_half = word >= 0;
    const F twice = middle_of<V>(word ^ (word >> 31), 0x1p-31f);
    const I power = (V::bits(twice) - kSqrtTwoBits) & -kOne;
    const F mantissa = V::from_bits(V::bits(twice) - power);  // between sqrt(2) and twice that
    const auto halved = twice > kHalved;
    const F upper = V::select(halved, V::fma(twice, V::splat(2.0f), V::splat(-2.0f)), twice);
    *g = V::select(lower_half, 2.0f - mantissa, upper);
    *exponent = V::select(lower_half, power, V::select(halved, V::splat(-kOne), V::splat(0)));
}

#if defined(__CUDA_ARCH__)
// The same lines. What a condition stands before needs no instruction to choose, of which the compiler makes seven.
template <>
C3_HD void split_log<Scalar>(int32_t word, float* g, int32_t* exponent) {
    asm("{.reg .pred upper, halved;\n"
        ".reg .b32 mantissa;\n"
        "setp.lt.s32 upper, %2, 0;\n"
        "@upper not.b32 %2, %2;\n"
        "cvt.rn.f32.s32 %0, %2;\n"
        "fma.rn.f32 %0, %0, 0f30000000, 0f2F800000;\n"  // 2^-31, 2^-32
        "mov.b32 %1, %0;\n"
        "sub.s32 %1, %1, %3;\n"
        "and.b32 %1, %1, 0xFF800000;\n"
        "mov.b32 mantissa, %0;\n"
        "sub.s32 mantissa, mantissa, %1;\n"
        "setp.gt.f32 halved, %0, %4;\n"
        "@upper selp.b32 %1, 0xFF800000, 0, halved;\n"
        "@halved fma.rn.f32 %0, %0, 0f40000000, 0fC0000000;\n"  // 2, -2
        "@!upper sub.rn.f32 %0, 0f40000000, mantissa;}"
        : "=&f"(*g), "=&r"(*exponent), "+r"(word)
        : "n"(kSqrtTwoBits), "f"(kHalved));
}
#endif

// All is computed of g, and with coefficients that are the reference's times powers of -2: so every rounding is the
// reference's, and the product with -2 costs nothing.
template <class V>
C3_HD typename V::F minus_two_log(typename V::I word) {
    using F = typename V::F;
    F g;
    typename V::I exponent;
    split_log<V>(word, &g, &exponent);
    F p = V::splat(0x1p-9f * 0.07634496688842773f);
    p = V::fma(p, g, V::splat(0x1p-8f * 0.1276157647371292f));
    p = V::fma(p, g, V::splat(0x1p-7f * 0.13160182535648346f));
    p = V::fma(p, g, V::splat(0x1p-6f * 0.14201757311820984f));
    p = V::fma(p, g, V::splat(0x1p-5f * 0.16623356938362122f));
    p = V::fma(p, g, V::splat(0x1p-4f * 0.20001226663589478f));
    p = V::fma(p, g, V::splat(0x1p-3f * 0.2500081956386566f));
    p = V::fma(p, g, V::splat(0x1p-2f * 0.3333333134651184f));
    p = V::fma(p, g, V::splat(0x1p-1f * 0.5f));
    return V::fma(V::to_float(exponent), V::splat(-0x1p-22f * 0.6931471824645996f), V::fma(g * g, p, g));
}

// cos and sin of 2 pi (word + 1/2) / 2^32, times a radius: the nearest quarter turn exactly, the rest by polynomial.
template <class V>
C3_HD void around(typename V::F radius, typename V::U word, typename V::F* first, typename V::F* second) {
    using F = typename V::F;
    using I = typename V::I;
    using U = typename V::U;
    constexpr uint32_t kEighth = 1u << 29, kSign = 1u << 31;
    // the distance to the nearest quarter is the word without its upper two bits, as a signed number of 30 bits
    const F y = V::fma(V::to_float(I(word << 2)), V::splat(0x1p-34f), V::splat(0x1p-33f));
    const F t = y * y;
    F s = V::splat(-75.39356231689453f);
    s = V::fma(s, t, V::splat(81.59235382080078f));
    s = V::fma(s, t, V::splat(-41.3416633605957f));
    s = V::fma(s, t, V::splat(6.2831854820251465f));
    F c = V::splat(59.229244232177734f);
    c = V::fma(c, t, V::splat(-85.4432373046875f));
    c = V::fma(c, t, V::splat(64.93932342529297f));
    c = V::fma(c, t, V::splat(-19.739208221435547f));
    const F along = V::fma(t, c, V::splat(1.0f)), across = y * s;
    const U nearest = word + kEighth;  // its upper two bits count the quarters
    const auto odd = V::has_bit(nearest, 2 * kEighth);
    // half a turn changes the signs of both, and costs nothing but the radius's; a quarter makes (c, s) of (-s, c)
    const F turned = V::from_bits(V::bits(radius) ^ I(nearest & kSign));
    *first = turned * V::select(odd, -across, along);
    *second = turned * V::select(odd, along, across);
}

// Two normals from two words: the columns of word 0 and 1, or of 2 and 3.
template <class V>
C3_HD void box_muller(typename V::U radius_word, typename V::U angle_word, typename V::F* first,
                      typename V::F* second) {
    around<V>(V::sqrt(minus_two_log<V>(typename V::I(radius_word))), angle_word, first, second);
}

}  // namespace c3align
