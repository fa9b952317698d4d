// What a row is: its reduction tree, which norms are usable, and what can be wrong with it.
#pragma once

#include "portable.h"

namespace c3align {

// Column j belongs to slot j % 128; a lane is 4 neighbouring slots: one float4 for each thread of a warp,
// 16 accumulators of 8 doubles on AVX-512. Rows wider than a segment add their segments in rising order,
// which lets several warps share a row.
constexpr int kLanes = 32;
constexpr int kSlots = 4 * kLanes;
constexpr int kSegment = 8 * kSlots;

constexpr double kMinNorm = 0x1p-126;  // below it a float32 row has lost its direction to subnormal rounding
constexpr double kMaxNorm = 0x1p126;   // above it the reciprocal would be subnormal

// Up to this norm a centred row is the error of the mean and nothing else: in float32 that of a float32 mean; in float64,
// times sqrt(n_dims), that of statistics in units of 2^-40.
constexpr double kAtMeanInFloat = 0x1p-22, kAtMeanInDouble = 0x1p-40;

enum Status : uint8_t { kOk = 0, kBadNorm = 1, kAtMean = 2 };

// What was wrong with any row of a call, as bits of one number that a host can read without looking at each status.
enum Flag : uint32_t { kSawSmall = 1, kSawUnusable = 2, kSawAtMean = 4 };  // too short; not finite, or too long; a mean

C3_HD bool usable_norm(double norm) { return norm >= kMinNorm && norm <= kMaxNorm; }  // false for NaN

C3_HD int64_t padded_to_slots(int64_t n_dims) {
    const int64_t steps = (n_dims + kSlots - 1) / kSlots;
    return (steps > 0 ? steps : 1) * kSlots;
}

// The end of the tree: lanes as (a + b) + (c + d), then distances 16, 8, 4, 2, 1.
C3_HD double reduce_slots(const double* slots) {
    double lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
        const double* s = slots + 4 * lane;
        lanes[lane] = (s[0] + s[1]) + (s[2] + s[3]);
    }
    for (int half = kLanes / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

}  // namespace c3align
