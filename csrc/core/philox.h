// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
// A bijection of a 128-bit counter under a 64-bit key; the noise of a row needs no state and no stream.
#pragma once

#include "lanes.h"

namespace c3align {

// Four 32-bit words, each in the low half of a 64-bit lane: what a round multiplies comes back where it is needed.
template <class W>
struct Words {
    W w0, w1, w2, w3;
};

constexpr int kPhiloxRounds = 10;
// fourth counter word: two kinds of noise never share a stream
constexpr uint32_t kPurposeRowNoise = 0, kPurposeRowStrength = 1;

constexpr uint32_t kFactor0 = 0xD2511F53u, kFactor1 = 0xCD9E8D57u;
constexpr uint32_t kKeyStep0 = 0x9E3779B9u, kKeyStep1 = 0xBB67AE85u;

template <class V>
C3_HD Words<typename V::W> philox_round(Words<typename V::W> x, uint32_t key0, uint32_t key1) {
    const typename V::W first = V::multiply_words(x.w0, kFactor0), second = V::multiply_words(x.w2, kFactor1);
    return {(second >> 32) ^ x.w1 ^ uint64_t(key0), second, (first >> 32) ^ x.w3 ^ uint64_t(key1), first};
}

// Several counters at once: each is one long chain of products, and chains side by side keep a processor busy.
template <class V, int kCounters>
C3_HD void philox4x32(Words<typename V::W> (&x)[kCounters], uint32_t key0, uint32_t key1,
                      int n_rounds = kPhiloxRounds) {
    C3_UNROLL
    for (int round = 0; round < n_rounds; ++round) {
        for (int i = 0; i < kCounters; ++i) x[i] = philox_round<V>(x[i], key0, key1);
        key0 += kKeyStep0;
        key1 += kKeyStep1;
    }
}

// The keys of all rounds, for kernels that get them as constants.
struct KeySchedule {
    uint32_t key0[kPhiloxRounds], key1[kPhiloxRounds];

    explicit KeySchedule(uint64_t seed) {
        for (int round = 0; round < kPhiloxRounds; ++round) {
            key0[round] = uint32_t(seed) + uint32_t(round) * kKeyStep0;
            key1[round] = uint32_t(seed >> 32) + uint32_t(round) * kKeyStep1;
        }
    }
};

template <class V>
C3_HD Words<typename V::W> row_counter(uint64_t row, typename V::W block, uint32_t purpose) {
    return {block, V::splat(uint64_t(uint32_t(row))), V::splat(row >> 32), V::splat(uint64_t(purpose))};
}

// The words of columns 4 * block ... 4 * block + 3 of a row, for blocks or vectors of them.
template <class V, int kCounters>
C3_HD void row_words(uint64_t seed, uint64_t row, const typename V::W (&blocks)[kCounters],
                     Words<typename V::W> (&words)[kCounters], uint32_t purpose = kPurposeRowNoise) {
    for (int i = 0; i < kCounters; ++i) words[i] = row_counter<V>(row, blocks[i], purpose);
    philox4x32<V>(words, uint32_t(seed), uint32_t(seed >> 32));
}

// The same for one block.
C3_HD Words<uint64_t> row_words(uint64_t seed, uint64_t row, uint64_t block, uint32_t purpose = kPurposeRowNoise) {
    const uint64_t blocks[1] = {block};
    Words<uint64_t> words[1];
    row_words<Scalar>(seed, row, blocks, words, purpose);
    return words[0];
}

// One number in (0, 1) for a row.
C3_HD double row_uniform(uint64_t seed, uint64_t row) {
    return (double(uint32_t(row_words(seed, row, 0, kPurposeRowStrength).w0)) + 0.5) * 0x1p-32;
}

}  // namespace c3align
