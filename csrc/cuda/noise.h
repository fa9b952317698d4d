// The noise of a row: normals four columns at a time, one Philox block, and what shapes them.
#pragma once

#include "../core/normal.h"
#include "load_store.h"

namespace c3align {
namespace {

// Of columns 4 * block ... 4 * block + 3, beyond the last one too.
template <typename T>
__device__ __forceinline__ Quad<T> normals_of(const KeySchedule& keys, uint64_t row, unsigned block) {
    const Words<uint64_t> w = philox4x32<Scalar>(row_counter<Scalar>(row, block, kPurposeRowNoise), keys);
    float z[kColumns];
    box_muller<Scalar>(uint32_t(w.w0), uint32_t(w.w1), &z[0], &z[1]);
    box_muller<Scalar>(uint32_t(w.w2), uint32_t(w.w3), &z[2], &z[3]);
    Quad<T> quad;
    for (int k = 0; k < kColumns; ++k) quad.v[k] = T(z[k]);
    return quad;
}

// Normals of a whole row, shaped as `Noise` asks, because sums over it decide its shape; returns what they are
// multiplied by.
template <int kSteps, typename T>
__device__ __forceinline__ T shaped_noise(Quad<T>* e, const Noise& noise, const KeySchedule& keys, uint64_t row,
                                          const Place& place, double (*slots)[kSlots]) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        e[step] = normals_of<T>(keys, row, place.block(step));
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
