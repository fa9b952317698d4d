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

// -2 log(u), u = (word + 1/2) / 2^32. `twice` is twice the distance to the nearer end of (0, 1), so that u near 0 and
// 1 - u near 0 both keep full relative precision: a word >= 0 means the distance is u, else 1 - u. All is computed of
// g = -2 f, f the argument of the reference's polynomial of log(1 + f), whose coefficients are here times powers of -2:
// so every rounding is the reference's, and the product with -2 costs nothing.
template <class V>
C3_HD typename V::F minus_two_log(typename V::I word) {
    using F = typename V::F;
    using I = typename V::I;
    constexpr int32_t kSqrtTwoBits = 0x3FB504F3, kOne = 1 << 23;  // of an exponent
    const auto lower_half = word >= 0;
    const F twice = middle_of<V>(word ^ (word >> 31), 0x1p-31f);
    const I power = (V::bits(twice) - kSqrtTwoBits) & -kOne;
    const F mantissa = V::from_bits(V::bits(twice) - power);  // between sqrt(2) and twice that
    const auto halve = twice > 2 * 0.29289323f;               // u < sqrt(1/2)
    const F upper = V::select(halve, V::fma(twice, V::splat(2.0f), V::splat(-2.0f)), twice);
    const F g = V::select(lower_half, 2.0f - mantissa, upper);
    const I exponent = V::select(lower_half, power, V::select(halve, V::splat(-kOne), V::splat(0)));
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

// cos and sin of 2 pi (word + 1/2) / 2^32: the nearest quarter turn exactly, the rest by polynomial.
template <class V>
C3_HD void cos_sin_turns(typename V::U word, typename V::F* cosine, typename V::F* sine) {
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
    // the cosine is negative in quarters 1 and 2, the sine in 2 and 3
    const U cosine_sign = (nearest + 2 * kEighth) & kSign, sine_sign = nearest & kSign;
    *cosine = V::from_bits(V::bits(V::select(odd, across, along)) ^ I(cosine_sign));
    *sine = V::from_bits(V::bits(V::select(odd, along, across)) ^ I(sine_sign));
}

// Two normals from two words: the columns of word 0 and 1, or of 2 and 3.
template <class V>
C3_HD void box_muller(typename V::U radius_word, typename V::U angle_word, typename V::F* first,
                      typename V::F* second) {
    const typename V::F radius = V::sqrt(minus_two_log<V>(typename V::I(radius_word)));
    cos_sin_turns<V>(angle_word, first, second);
    *first = radius * *first;
    *second = radius * *second;
}

}  // namespace c3align
