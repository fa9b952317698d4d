// Exact sums of unit rows and of their squares. A thread meets the same columns in every row and keeps their sums in
// registers: integers, so that the order in which warps and blocks add theirs does not show.
#pragma once

#include "../core/fixed_sum.h"
#include "row.h"

namespace c3align {
namespace {

typedef unsigned long long Total;

// Adds what the threads of a block have of each column, one warp after another: sums, then sums of squares.
template <int kSteps>
__device__ void add_up(const Total (*own)[kSteps][kColumns], Total* totals, const Place& place, int warp, int n_warps,
                       int n_dims) {
    for (int turn = 0; turn < n_warps; ++turn) {
        if (turn == warp)
            for (int which = 0; which < 2; ++which)
#pragma unroll
                for (int step = 0; step < kSteps; ++step)
                    for (int k = 0; k < kColumns; ++k) {
                        const int j = place.first + step * kSlots + k;
                        if (j < n_dims) totals[which * n_dims + j] += own[which][step][k];
                    }
        __syncthreads();
    }
}

template <typename Stored, typename T, int kSteps, bool kAligned, bool kWide>
__global__ void __launch_bounds__(kMaxWarps* kWarp)
    moments_kernel(Rows in, Total* sums, Total* squares, double* norms, uint8_t* status) {
    Total* totals = dynamic_shared();
    __shared__ double slots[kWide ? kMaxWarps : 1][kSlots];
    const int n_dims = int(in.n_dims), warp = int(threadIdx.x) / kWarp, n_warps = int(blockDim.x) / kWarp;
    const Place place(int(threadIdx.x) % kWarp, kWide ? warp : 0, kWide ? n_warps : 1, n_dims);
    const int64_t rows_at_once = kWide ? 1 : n_warps;
    Total own[2][kSteps][kColumns] = {}, n_kept = 0;
    for (int64_t index = int64_t(blockIdx.x) * rows_at_once + (kWide ? 0 : warp); index < in.n_rows;
         index += gridDim.x * rows_at_once) {
        const Stored* mine = first_column<const Stored>(in, index, place);
        Quad<T> row[kSteps];
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            row[step] = load<kAligned, T>(mine, step, place, in.column_stride);
        double norm;
        const T p = reciprocal_norm<T>(sum_of_products<kSteps>(row, row, place, kWide ? slots : nullptr), &norm);
        const bool usable = usable_norm(norm);
        if (place.lane == 0 && place.segment == 0) {
            norms[index] = norm;
            status[index] = usable ? kOk : kBadNorm;
        }
        if (!usable) continue;
        ++n_kept;
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            for (int k = 0; k < kColumns; ++k) {
                const T unit = row[step].v[k] * p;
                own[0][step][k] += bit_cast<Total>(double(unit) + kWrap);
                own[1][step][k] += bit_cast<Total>(add_product(unit, unit, kWrap));
            }
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
        for (int k = 0; k < kColumns; ++k)
            for (int which = 0; which < 2; ++which) own[which][step][k] -= n_kept * bit_cast<Total>(kWrap);
    for (int j = int(threadIdx.x); j < 2 * n_dims; j += int(blockDim.x)) totals[j] = 0;
    __syncthreads();
    add_up<kSteps>(own, totals, place, warp, n_warps, n_dims);
    for (int j = int(threadIdx.x); j < n_dims; j += int(blockDim.x)) {
        atomicAdd(&sums[j], totals[j]);
        atomicAdd(&squares[j], totals[n_dims + j]);
    }
}

}  // namespace
}  // namespace c3align
