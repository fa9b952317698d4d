// Exact sums of unit rows and of their squares: integers, so that the order in which threads and blocks add does not
// show. Each warp makes a row a unit row and leaves it in shared memory; then every thread adds its own few columns of
// all rows there, and keeps their sums in registers to the end.
#pragma once

#include "../core/fixed_sum.h"
#include "load_store.h"

namespace c3align {
namespace {

typedef unsigned long long Total;

// Where a block's rows wait: in fours of columns, as threads load them and as they are added.
template <typename T, int kSteps>
__device__ __forceinline__ void leave(T* unit, const Quad<T>* row, T p, const Place& place) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        Quad<T> quad;
        for (int k = 0; k < kColumns; ++k) quad.v[k] = row[step].v[k] * p;
        *reinterpret_cast<Quad<T>*>(unit + place.first + step * kSlots) = quad;
    }
}

// What the block found goes to the totals of all: sums, squares, bins of norms, the number of usable rows.
template <int kOwn>
__device__ __forceinline__ void add_up(const Total (&own)[2][kOwn], const Total (*bins)[kNormBins], int n_bins,
                                       Total n_rows, Total n_kept, int n_dims, Total* totals) {
    const Total wraps = n_rows * bit_cast<Total>(kWrap);
    const int thread = int(threadIdx.x), n_threads = int(blockDim.x);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
        const int column = thread + i * n_threads;
        if (column >= n_dims) continue;
        for (int which = 0; which < 2; ++which) atomicAdd(&totals[which * n_dims + column], own[which][i] - wraps);
    }
    for (int bin = thread; bin < kNormBins; bin += n_threads) {
        Total sum = 0;
        for (int warp = 0; warp < n_bins; ++warp) sum += bins[warp][bin];
        if (sum) atomicAdd(&totals[2 * n_dims + bin], sum);
    }
    if (n_kept) atomicAdd(&totals[2 * n_dims + kNormBins], n_kept);
}

// A block has as many rows at once as warps, or one that all of them share. Rows beyond the last, and those without a
// direction, are added as zeros.
template <typename Stored, typename T, int kSteps, Layout kLayout, bool kWide>
__global__ void __launch_bounds__(kMaxWarps* kWarp)
    moments_kernel(Rows in, Total* totals, uint8_t* status) {
    constexpr int kWidth = kSteps * kSlots, kThreads = kMaxWarps * kWarp;  // of a row, or of a warp's segment of one
    constexpr int kOwn = kWide ? kWidth / kWarp : (kWidth + kThreads - 1) / kThreads;
    __shared__ double slots[kWide ? kMaxWarps : 1][kSlots];
    constexpr int kBins = kWide ? 1 : kMaxWarps;  // each warp that measures rows has its own, and no other writes there
    __shared__ Total bins[kBins][kNormBins];
    T* units = reinterpret_cast<T*>(dynamic_shared());
    const int warp = int(threadIdx.x) / kWarp, n_warps = int(blockDim.x) / kWarp;
    const int rows_at_once = kWide ? 1 : n_warps, width = kWide ? n_warps * kWidth : kWidth;
    const Place place(int(threadIdx.x) % kWarp, kWide ? warp : 0, kWide ? n_warps : 1, in.n_dims);
    for (int i = int(threadIdx.x); i < kBins * kNormBins; i += int(blockDim.x)) bins[i / kNormBins][i % kNormBins] = 0;
    __syncthreads();
    Total own[2][kOwn] = {}, n_rows = 0, n_kept = 0;
    for (int64_t first = int64_t(blockIdx.x) * rows_at_once; first < in.n_rows;
         first += int64_t(gridDim.x) * rows_at_once) {
        const int64_t index = first + (kWide ? 0 : warp);
        Quad<T> row[kSteps] = {};
        T p = T(0);
        if (index < in.n_rows) {
            const Stored* mine = first_column<const Stored>(in, index, place);
#pragma unroll
            for (int step = 0; step < kSteps; ++step)
                row[step] = load<kLayout, T>(mine, step, place, in.column_stride);
            double norm;
            p = reciprocal_norm<T>(sum_of_products<kSteps>(row, row, place, kWide ? slots : nullptr), &norm);
            const bool usable = usable_norm(norm);
            if (place.lane == 0 && place.segment == 0) {
                status[index] = usable ? kOk : kBadNorm;
                n_kept += usable;
                const BinnedNorm binned(norm);
                if (usable) bins[kWide ? 0 : warp][binned.bin] += Total(binned.mantissa);
            }
            if (!usable) {  // whatever there is
#pragma unroll
                for (int step = 0; step < kSteps; ++step) row[step] = Quad<T>{};
            }
        }
        leave<T, kSteps>(units + (kWide ? 0 : warp * kWidth), row, p, place);
        __syncthreads();
        for (int r = 0; r < rows_at_once; ++r)
#pragma unroll
            for (int i = 0; i < kOwn; ++i) {
                const int column = int(threadIdx.x) + i * int(blockDim.x);
                if (column >= width) continue;
                const T unit = units[r * width + column];
                own[0][i] += bit_cast<Total>(double(unit) + kWrap);
                own[1][i] += bit_cast<Total>(add_product(unit, unit, kWrap));
            }
        __syncthreads();  // before the next rows come there
        n_rows += Total(rows_at_once);
    }
    add_up<kOwn>(own, bins, kBins, n_rows, n_kept, int(in.n_dims), totals);
}

}  // namespace
}  // namespace c3align
