// The normals of a row, a register of columns at a time.
#pragma once

#include "../core/normal.h"
#include "../core/row.h"
#include "simd.h"

namespace c3align {
namespace {

// Normals of one row; `padded` columns, a multiple of kSlots, are written.
#if defined(C3ALIGN_SIMD)

// Words, then logarithms, then normals: short loops, of which the processor holds several passes at a time, where one
// long chain would make it wait.
void row_normals(float* out, int64_t padded, uint64_t seed, uint64_t row) {
    using V = Vector;
    constexpr int kCounters = 4, kStep = 2 * kFloats;
    static_assert(kSlots % (kCounters * kStep) == 0, "whole rows");
    const V::W low = V::splat(uint64_t(0xFFFFFFFFu));
    V::W blocks[kCounters];
    // in the order that leaves columns in theirs after `interleave`
    for (int i = 0; i < kDoubles; ++i) blocks[0][i] = uint64_t(i % 2 * (kDoubles / 2) + i / 2);
    for (int i = 1; i < kCounters; ++i) blocks[i] = blocks[i - 1] + uint64_t(kDoubles);
    for (int64_t column = 0; column < padded; column += kCounters * kStep) {
        Words<V::W> words[kCounters];
        row_words<V>(seed, row, blocks, words);
        for (int i = 0; i < kCounters; ++i) {
            // words 0 and 2 of each block side by side, and 1 and 3: what Box-Muller pairs
            store(out + column + i * kStep, (words[i].w0 & low) | (words[i].w2 << 32));
            store(out + column + i * kStep + kFloats, (words[i].w1 & low) | (words[i].w3 << 32));
            blocks[i] += uint64_t(kCounters * kDoubles);
        }
    }
    for (int64_t column = 0; column < padded; column += kStep) {
        V::I word;
        memcpy(&word, out + column, sizeof word);
        store(out + column, minus_two_log<V>(word));
    }
    for (int64_t column = 0; column < padded; column += kStep) {
        V::F squared_radius, first, second, low_columns, high_columns;
        V::U angle;
        memcpy(&squared_radius, out + column, sizeof squared_radius);
        memcpy(&angle, out + column + kFloats, sizeof angle);
        around<V>(V::sqrt(squared_radius), angle, &first, &second);
        interleave(first, second, &low_columns, &high_columns);
        store(out + column, low_columns);
        store(out + column + kFloats, high_columns);
    }
}

#else

void row_normals(float* out, int64_t padded, uint64_t seed, uint64_t row) {
    for (int64_t column = 0; column < padded; column += 4) {
        const Words<uint64_t> w = row_words(seed, row, uint64_t(column / 4));
        box_muller<Scalar>(uint32_t(w.w0), uint32_t(w.w1), out + column, out + column + 1);
        box_muller<Scalar>(uint32_t(w.w2), uint32_t(w.w3), out + column + 2, out + column + 3);
    }
}

#endif

}  // namespace
}  // namespace c3align
