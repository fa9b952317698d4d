// The noise of a row: normals four columns at a time, one Philox block, and what shapes them.
#pragma once

#include "../core/normal.h"
#include "load_store.h"

namespace c3align {
namespace {

// The first two rounds of a row's words, as far as they are the same in all its columns: a counter is the number of
// four columns and that of the row, and a round multiplies each apart.
struct RowStart {
    uint32_t w0, w2, w3;

    RowStart() = default;
    __device__ __forceinline__ RowStart(const KeySchedule& keys, uint64_t row) {
        const uint64_t high = Scalar::multiply_words(row >> 32, kFactor1);
        const uint64_t product = Scalar::multiply_words((high >> 32) ^ uint32_t(row) ^ keys.key0[0], kFactor0);
        w0 = uint32_t(high) ^ keys.key0[1];
        w2 = uint32_t(product >> 32) ^ keys.key1[1];
        w3 = uint32_t(product);
    }
};

// Of columns 4 * block ... 4 * block + 3, beyond the last one too, in several rows at once: one chain of products for
// each, side by side.
template <typename T, int kRows>
__device__ __forceinline__ void normals_of(Quad<T> (&quads)[kRows], const KeySchedule& keys,
                                           const RowStart (&starts)[kRows], unsigned block) {
    const uint64_t product = Scalar::multiply_words(block, kFactor0);
    const uint64_t second = Scalar::multiply_words((product >> 32) ^ kPurposeRowNoise ^ keys.key1[0], kFactor1);
    Words<uint64_t> w[kRows];
    for (int r = 0; r < kRows; ++r)
        w[r] = {(second >> 32) ^ starts[r].w0, second, uint32_t(product) ^ starts[r].w2, starts[r].w3};
    C3_UNROLL
    for (int round = 2; round < kPhiloxRounds; ++round)
        for (int r = 0; r < kRows; ++r) w[r] = philox_round<Scalar>(w[r], keys.key0[round], keys.key1[round]);
    for (int r = 0; r < kRows; ++r) {
        float z[kColumns];
        box_muller<Scalar>(uint32_t(w[r].w0), uint32_t(w[r].w1), &z[0], &z[1]);
        box_muller<Scalar>(uint32_t(w[r].w2), uint32_t(w[r].w3), &z[2], &z[3]);
        for (int k = 0; k < kColumns; ++k) quads[r].v[k] = T(z[k]);
    }
}

// Normals of a whole row, shaped as `Noise` asks, because sums over it decide its shape; returns what they are
// multiplied by.
template <int kSteps, typename T>
__device__ __forceinline__ T shaped_noise(Quad<T>* e, const Noise& noise, const KeySchedule& keys, uint64_t row,
                                          const Place& place, double (*slots)[kSlots]) {
    const RowStart starts[1] = {RowStart(keys, row)};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        Quad<T> normals[1];
        normals_of(normals, keys, starts, place.block(step));
        e[step] = normals[0];
        const Quad<T> columns = load_vector<Layout::kStrided, T>(noise.columns, step, place);
        for (int k = 0; k < kColumns; ++k) {
            if (noise.columns) e[step].v[k] *= columns.v[k];
            if (!place.holds<Layout::kStrided>(step, k)) e[step].v[k] = T(0);
        }
    }
    if (noise.direction) {
        Quad<T> v[kSteps];
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            v[step] = load_vector<Layout::kStrided, T>(noise.direction, step, place);
        const T along = T(-sum_of_products<kSteps>(e, v, place, slots));
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            for (int k = 0; k < kColumns; ++k) e[step].v[k] = multiply_add(along, v[step].v[k], e[step].v[k]);
    }
    double amount = noise.sigma;
    if (noise.radius != 0) {
        const double norm = sqrt(sum_of_products<kSteps>(e, e, place, slots));
        amount = norm > 0 ? noise.radius / norm : 0;
    }
    return T(noise.random_strength ? amount * row_uniform(noise.seed, row) : amount);
}

}  // namespace
}  // namespace c3align
