// float16 and bfloat16 by integer arithmetic: exact when widening, nearest-even when narrowing, and free of
// branches, so that compilers vectorise it where the machine has no instruction for it.
#pragma once

#include "portable.h"

namespace c3align {

struct Half {
    uint16_t bits;
};
struct BFloat16 {
    uint16_t bits;
};

C3_HD float widen(float value) { return value; }
C3_HD double widen(double value) { return value; }
C3_HD float widen(BFloat16 value) { return bit_cast<float>(uint32_t{value.bits} << 16); }

C3_HD float widen(Half value) {
    const uint32_t magnitude = value.bits & 0x7FFFu;
    // 0.5 has a subnormal half in its low bits
    const uint32_t subnormal = bit_cast<uint32_t>(bit_cast<float>(magnitude | 0x3F000000u) - 0.5f);
    const uint32_t rebias = magnitude >= 0x7C00u ? 0x70000000u : 0x38000000u;  // infinity and NaN stay so
    const uint32_t normal = (magnitude << 13) + rebias;
    // a mask and no choice, which compilers would make a branch of, and vectorise neither
    const uint32_t is_subnormal = 0u - uint32_t(magnitude < 0x0400u);
    const uint32_t bits = (subnormal & is_subnormal) | (normal & ~is_subnormal);
    return bit_cast<float>(bits | (uint32_t(value.bits & 0x8000u) << 16));
}

C3_HD void narrow(float value, float& out) { out = value; }
C3_HD void narrow(double value, double& out) { out = value; }

C3_HD void narrow(float value, BFloat16& out) {
    const uint32_t bits = bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16;
    out.bits = uint16_t((bits & 0x7FFFFFFFu) > 0x7F800000u ? (bits >> 16) | 0x0040u : rounded);
}

C3_HD void narrow(float value, Half& out) {
    const uint32_t bits = bit_cast<uint32_t>(value), magnitude = bits & 0x7FFFFFFFu;
    const uint32_t normal = (magnitude - 0x38000000u + 0x0FFFu + ((magnitude >> 13) & 1)) >> 13;
    // adding 0.5 leaves a subnormal half, rounded, in the low bits
    const uint32_t subnormal = bit_cast<uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
    const uint32_t special = magnitude > 0x7F800000u ? 0x7E00u : 0x7C00u;
    const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
    out.bits = uint16_t((magnitude >= 0x47800000u ? special : finite) | ((bits >> 16) & 0x8000u));
}

}  // namespace c3align
