// Sums whose bytes do not depend on the order of addition: integers in units of 2^-40.
// Unit rows have entries in [-1, 1], so an int64 holds 2^22 of them; the caller flushes to 128 bits in time.
#pragma once

#include "portable.h"

namespace c3align {

constexpr int64_t kMaxRowsPerBlock = int64_t{1} << 22;
constexpr int64_t kMaxPairsPerBlock = int64_t{1} << 20;  // whose differences have squares up to 4, and a little more

// Half-way between 2^12 and 2^13, where the last bit of a double is worth 2^-40: adding it rounds to a multiple of that
// (ties to even) and leaves the integer, rint(value * 2^40) for |value| < 2^11, in the low bits of the mantissa: one
// addition, where a conversion to int64 has no instruction before AVX-512. Sums are taken of the bits as they are,
// modulo 2^64, and the bits of kWrap itself are taken off the sums.
constexpr double kWrap = 0x1.8p12;

// Norms are summed exactly too: the 24-bit mantissa of one, rounded to float32, by its exponent. `binned` of
// c3align/ops/fixed.py.
constexpr int kNormBins = 256;

struct BinnedNorm {
    uint32_t bin, mantissa;

    explicit C3_HD BinnedNorm(double norm) {  // a usable one, which is a normal number
        const uint32_t bits = bit_cast<uint32_t>(float(norm));
        bin = bits >> 23;
        mantissa = (bits & 0x7FFFFF) | 0x800000;
    }
};

}  // namespace c3align
