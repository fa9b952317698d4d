// Sums whose bytes do not depend on the order of addition: integers in units of 2^-40.
// Unit rows have entries in [-1, 1], so an int64 holds 2^22 of them; the caller flushes to 128 bits in time.
#pragma once

#include "portable.h"

namespace c3align {

constexpr double kFixedScale = 0x1p40;
constexpr int64_t kMaxRowsPerBlock = int64_t{1} << 22;

// rint(value * 2^40) for |value| < 2^11. Adding 3 * 2^51 rounds to an integer (ties to even) and leaves it in
// the low bits of the mantissa: one addition, where a conversion to int64 has no instruction before AVX-512.
C3_HD int64_t to_fixed(double value) {
    constexpr double kMagic = 0x1.8p52;
    return bit_cast<int64_t>(value * kFixedScale + kMagic) - bit_cast<int64_t>(kMagic);
}

}  // namespace c3align
