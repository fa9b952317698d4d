// Standard normals from random words by Box-Muller, with our own logarithm, sine and cosine, so that every
// device gives the same bits. Each fmaf and each operator below is one IEEE rounding: no compiler may fuse more
// (-ffp-contract=off, --fmad=false). Coefficients: c3align/ops/reference.py, where their errors are stated.
#pragma once

#include "philox.h"

namespace c3align {

struct Pair {
    float first, second;
};

// log(u), u = (word + 1/2) / 2^32. `t` is the distance to the nearer end of (0, 1), so that u near 0 and 1 - u
// near 0 both keep full relative precision: a word >= 0 means t = u, else t = 1 - u.
C3_HD float log_uniform(int32_t word) {
    constexpr int32_t kSqrtHalfBits = 0x3F3504F3;
    const bool lower_half = word >= 0;
    const float t = (float(word ^ (word >> 31)) + 0.5f) * 0x1p-32f;
    const int32_t bits = bit_cast<int32_t>(t) - kSqrtHalfBits;  // so that the mantissa lies around 1
    const float mantissa = bit_cast<float>((bits & 0x007FFFFF) + kSqrtHalfBits);
    const bool halve = t > 0.29289323f;  // 1 - t < sqrt(1/2)
    const float upper = halve ? fmaf(t, -2.0f, 1.0f) : -t;
    const float f = lower_half ? mantissa - 1.0f : upper;
    const float exponent = float(lower_half ? bits >> 23 : (halve ? -1 : 0));
    float p = -0.07634496688842773f;
    p = fmaf(p, f, 0.1276157647371292f);
    p = fmaf(p, f, -0.13160182535648346f);
    p = fmaf(p, f, 0.14201757311820984f);
    p = fmaf(p, f, -0.16623356938362122f);
    p = fmaf(p, f, 0.20001226663589478f);
    p = fmaf(p, f, -0.2500081956386566f);
    p = fmaf(p, f, 0.3333333134651184f);
    p = fmaf(p, f, -0.5f);
    return fmaf(exponent, 0.6931471824645996f, fmaf(f * f, p, f));
}

// cos and sin of 2 pi (word + 1/2) / 2^32: the nearest quarter turn exactly, the rest by polynomial.
C3_HD Pair cos_sin_turns(uint32_t word) {
    const uint32_t quarter = (word + (1u << 29)) >> 30;
    const float y = (float(int32_t(word - (quarter << 30))) + 0.5f) * 0x1p-32f;
    const float t = y * y;
    float s = -75.39356231689453f;
    s = fmaf(s, t, 81.59235382080078f);
    s = fmaf(s, t, -41.3416633605957f);
    s = fmaf(s, t, 6.2831854820251465f);
    const float sine = y * s;
    float c = 59.229244232177734f;
    c = fmaf(c, t, -85.4432373046875f);
    c = fmaf(c, t, 64.93932342529297f);
    c = fmaf(c, t, -19.739208221435547f);
    const float cosine = fmaf(t, c, 1.0f);
    const uint32_t swap = 0u - (quarter & 1);  // a mask, not a branch: compilers vectorise it
    const uint32_t sine_bits = bit_cast<uint32_t>(sine), cosine_bits = bit_cast<uint32_t>(cosine);
    const uint32_t difference = (sine_bits ^ cosine_bits) & swap;
    const uint32_t cosine_sign = ((quarter ^ (quarter >> 1)) & 1) << 31;  // negative in quarters 1 and 2
    const uint32_t sine_sign = ((quarter >> 1) & 1) << 31;                // negative in quarters 2 and 3
    return Pair{bit_cast<float>((cosine_bits ^ difference) ^ cosine_sign),
                bit_cast<float>((sine_bits ^ difference) ^ sine_sign)};
}

C3_HD Pair box_muller(uint32_t radius_word, uint32_t angle_word) {
    const float radius = sqrtf(-2.0f * log_uniform(int32_t(radius_word)));
    const Pair turn = cos_sin_turns(angle_word);
    return Pair{radius * turn.first, radius * turn.second};
}

}  // namespace c3align
