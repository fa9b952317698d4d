// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
// A bijection of a 128-bit counter under a 64-bit key; the noise of a row needs no state and no stream.
#pragma once

#include "portable.h"

namespace c3align {

struct Words {
    uint32_t w0, w1, w2, w3;
};

constexpr int kPhiloxRounds = 10;
constexpr uint32_t kPurposeRowNoise = 0;  // fourth counter word: later kinds of noise never share a stream

C3_HD Words philox4x32(Words x, uint32_t key0, uint32_t key1, int n_rounds = kPhiloxRounds) {
    for (int round = 0; round < n_rounds; ++round) {
        const uint64_t first = uint64_t{x.w0} * 0xD2511F53u;
        const uint64_t second = uint64_t{x.w2} * 0xCD9E8D57u;
        x = Words{uint32_t(second >> 32) ^ x.w1 ^ key0, uint32_t(second),
                  uint32_t(first >> 32) ^ x.w3 ^ key1, uint32_t(first)};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return x;
}

// The words of columns 4 * block ... 4 * block + 3 of a row.
C3_HD Words row_words(uint64_t seed, uint64_t row, uint32_t block) {
    const Words counter{block, uint32_t(row), uint32_t(row >> 32), kPurposeRowNoise};
    return philox4x32(counter, uint32_t(seed), uint32_t(seed >> 32));
}

}  // namespace c3align
