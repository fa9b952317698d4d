// What a warp does with a row in its registers: load, store, the tree of sums.
#pragma once

#include "../core/row.h"
#include "kernels.h"
#include "launch.h"

namespace c3align {
namespace {

constexpr int kWarp = 32, kColumns = 4, kMaxWarps = int(kMaxCudaDims / kSegment);
static_assert(kSlots == kWarp * kColumns, "a warp's float4 are the slots of the tree");

// Four neighbouring columns of a row.
template <typename T>
struct alignas(16) Quad {
    T v[kColumns];
};

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(__half x) { return __half2float(x); }
__device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void narrow(float x, float& out) { out = x; }
__device__ __forceinline__ void narrow(double x, double& out) { out = x; }
__device__ __forceinline__ void narrow(float x, __half& out) { out = __float2half_rn(x); }
__device__ __forceinline__ void narrow(float x, __nv_bfloat16& out) { out = __float2bfloat16_rn(x); }

// How rows lie in memory: in any strides, to be moved a column at a time; in fours of neighbours that can be moved at
// once, or are all beyond the last; or in fours that fill every step of the kernel, so that nothing has to be asked.
enum class Layout { kStrided, kQuads, kWhole };

// Where a thread stands in its row, of which its warp has one segment: at four columns of every 128.
struct Place {
    int lane, segment, n_segments;
    int first, left;  // its first column, and how many there are from that one to the row's end

    __device__ __forceinline__ Place(int lane_, int segment_, int n_segments_, int64_t n_dims)
        : lane(lane_), segment(segment_), n_segments(n_segments_),
          first(segment_ * int(kSegment) + lane_ * kColumns), left(int(n_dims) - first) {}

    // Which of the rows that its warp has at once it finishes the sums of.
    template <int kRows>
    __device__ __forceinline__ int row_of() const {
        return unsigned(lane) / unsigned(kWarp / kRows);
    }

    // The four columns of a step, counted in fours.
    __device__ __forceinline__ unsigned block(int step) const {
        return unsigned(segment * (int(kSegment) / kColumns) + step * kWarp + lane);
    }

    // Whether any thread of the warp has a column of a step.
    template <Layout kLayout>
    __device__ __forceinline__ bool reaches(int step) const {
        return kLayout == Layout::kWhole || step * kSlots < left + lane * kColumns;
    }

    // Whether column k of a step is in the row.
    template <Layout kLayout>
    __device__ __forceinline__ bool holds(int step, int k) const {
        return kLayout == Layout::kWhole || step * kSlots + (kLayout == Layout::kQuads ? 0 : k) < left;
    }
};

template <typename Stored>
__device__ __forceinline__ Stored* first_column(const Rows& rows, int64_t index, const Place& place) {
    return static_cast<Stored*>(rows.data) + index * rows.row_stride + place.first * rows.column_stride;
}

template <typename Stored>
struct alignas(sizeof(Stored) * kColumns) Packed {
    Stored v[kColumns];
};

template <typename Stored, typename T>
__device__ __forceinline__ void widen(const Packed<Stored>& packed, Quad<T>& quad) {
    for (int k = 0; k < kColumns; ++k) quad.v[k] = widen(packed.v[k]);
}

// A bfloat16 is the upper half of a float, and two lie in a register: one instruction for each.
__device__ __forceinline__ void widen(const Packed<__nv_bfloat16>& packed, Quad<float>& quad) {
    struct Pairs {
        uint32_t v[kColumns / 2];
    };
    const Pairs pairs = bit_cast<Pairs>(packed);
    for (int k = 0; k < kColumns; k += 2) {
        quad.v[k] = bit_cast<float>(pairs.v[k / 2] << 16);
        quad.v[k + 1] = bit_cast<float>(pairs.v[k / 2] & 0xFFFF0000u);
    }
}

// Zeros beyond the last column, which are exact in every sum. `mine` is the thread's first column.
template <Layout kLayout, typename T, typename Stored>
__device__ __forceinline__ Quad<T> load(const Stored* mine, int step, const Place& place, int64_t stride) {
    Quad<T> quad;
    if (kLayout != Layout::kStrided) {
        Packed<Stored> packed = {};
        if (place.holds<kLayout>(step, 0)) packed = *reinterpret_cast<const Packed<Stored>*>(mine + step * kSlots);
        widen(packed, quad);
    } else {
        for (int k = 0; k < kColumns; ++k)
            quad.v[k] = place.holds<kLayout>(step, k) ? T(widen(mine[(step * kSlots + k) * stride])) : T(0);
    }
    return quad;
}

template <Layout kLayout, typename T, typename Stored>
__device__ __forceinline__ void store(Stored* mine, const Quad<T>& quad, int step, const Place& place, int64_t stride) {
    if (kLayout != Layout::kStrided) {
        Packed<Stored> packed;
        for (int k = 0; k < kColumns; ++k) narrow(quad.v[k], packed.v[k]);
        if (place.holds<kLayout>(step, 0)) *reinterpret_cast<Packed<Stored>*>(mine + step * kSlots) = packed;
    } else {
        for (int k = 0; k < kColumns; ++k)
            if (place.holds<kLayout>(step, k)) narrow(quad.v[k], mine[(step * kSlots + k) * stride]);
    }
}

// A vector of the map, which has the type that rows are computed in; zeros where there is none.
template <Layout kLayout, typename T>
__device__ __forceinline__ Quad<T> load_vector(const void* vector, int step, const Place& place) {
    if (!vector) return Quad<T>{};
    return load<kLayout, T>(static_cast<const T*>(vector) + place.first, step, place, 1);
}

// Products of float32 are exact in float64, so that fusing them changes no bit.
__device__ __forceinline__ double add_product(float a, float b, double total) {
    return fma(double(a), double(b), total);
}
__device__ __forceinline__ double add_product(double a, double b, double total) { return total + a * b; }

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// A thread's four slots of the tree of core/row.h.
struct Slots {
    double v[kColumns];
};

template <typename T>
__device__ __forceinline__ void add_products(Slots& slot, const Quad<T>& a, const Quad<T>& b) {
    for (int k = 0; k < kColumns; ++k) slot.v[k] = add_product(a.v[k], b.v[k], slot.v[k]);
}

// The rest of the tree; every thread of the row gets the sum. `slots` is shared by the warps of a row, and null where
// one warp holds it.
__device__ __forceinline__ double add_slots(const Slots& own, const Place& place, double (*slots)[kSlots]) {
    double slot[kColumns];
    for (int k = 0; k < kColumns; ++k) slot[k] = own.v[k];
    if (slots) {
        for (int k = 0; k < kColumns; ++k) slots[place.segment][place.lane * kColumns + k] = slot[k];
        __syncthreads();
        for (int k = 0; k < kColumns; ++k) slot[k] = slots[0][place.lane * kColumns + k];
        for (int s = 1; s < place.n_segments; ++s)
            for (int k = 0; k < kColumns; ++k) slot[k] += slots[s][place.lane * kColumns + k];
        __syncthreads();  // before the next sum writes there
    }
    double lane = (slot[0] + slot[1]) + (slot[2] + slot[3]);
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) lane += __shfl_xor_sync(kAllLanes, lane, distance);
    return lane;
}

// The sums of the rows that a warp has at once. Of two, the first step of the butterfly exchanges halves: lanes 0-15
// finish the first row's sum and the others the second's, with the same bits, for a + b = b + a. So what follows from a
// sum is computed once for both.
template <int kRows>
__device__ __forceinline__ double add_rows(const Slots (&own)[kRows], const Place& place, double (*slots)[kSlots]) {
    if constexpr (kRows == 1) return add_slots(own[0], place, slots);
    const Slots &a = own[0], &b = own[kRows - 1];
    const double first = (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]), second = (b.v[0] + b.v[1]) + (b.v[2] + b.v[3]);
    const bool is_second = place.row_of<kRows>() != 0;
    double lane = (is_second ? second : first) + __shfl_xor_sync(kAllLanes, is_second ? first : second, kWarp / 2);
#pragma unroll
    for (int distance = kWarp / 4; distance > 0; distance /= 2) lane += __shfl_xor_sync(kAllLanes, lane, distance);
    return lane;
}

// What the lanes that finish a row's sums have of it, for all lanes.
template <int kRows, typename T>
__device__ __forceinline__ T of_row(T value, int row) {
    return kRows == 1 ? value : __shfl_sync(kAllLanes, value, row * (kWarp / kRows));
}

// Whether something is so for every thread of the row.
__device__ __forceinline__ bool all_of_row(bool mine, double (*slots)[kSlots]) {
    return slots ? __syncthreads_and(mine) != 0 : __all_sync(kAllLanes, mine) != 0;
}

template <int kRows, int kSteps, typename T>
__device__ __forceinline__ double sum_of_squares(const Quad<T> (&rows)[kRows][kSteps], const Place& place,
                                                 double (*slots)[kSlots]) {
    Slots own[kRows] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
        for (int r = 0; r < kRows; ++r) add_products(own[r], rows[r][step], rows[r][step]);
    return add_rows(own, place, slots);
}

template <int kSteps, typename T>
__device__ __forceinline__ double sum_of_products(const Quad<T>* a, const Quad<T>* b, const Place& place,
                                                  double (*slots)[kSlots]) {
    Slots own = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) add_products(own, a[step], b[step]);
    return add_slots(own, place, slots);
}

#if defined(__CUDA_ARCH__)
// The compiler's own sequences, instruction by instruction and with the lower halves that it gives its first guesses:
// right to the last bit where a norm is usable. Its branches to all other numbers are left out: of those comes one that
// is not usable either, or NaN.
__device__ __forceinline__ double with_low(double value, int low) {
    return __hiloint2double(__double2hiint(value), low);
}
__device__ __forceinline__ double root_of(double sum) {
    double y;
    asm("rsqrt.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(sum));
    y = with_low(y, __double2hiint(sum) - 0x3500000);
    const double error = fma(sum, -(y * y), 1.0);
    y = fma(fma(error, 0.375, 0.5), y * error, y);
    const double root = sum * y;
    return fma(fma(root, -root, sum), 0.5 * y, root);
}
__device__ __forceinline__ double reciprocal_of(double norm) {
    double y;
    asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(norm));
    y = with_low(y, __double2hiint(norm) + 0x300402);
    const double error = fma(y, -norm, 1.0);
    y = fma(y, fma(error, error, error), y);
    return fma(y, fma(y, -norm, 1.0), y);
}
#else
inline double root_of(double sum) { return sqrt(sum); }
inline double reciprocal_of(double norm) { return 1.0 / norm; }
#endif

template <typename T>
__device__ __forceinline__ T reciprocal_norm(double sum, double* norm) {
    *norm = root_of(sum);
    const T reciprocal = T(reciprocal_of(*norm));
    return usable_norm(*norm) ? reciprocal : T(0);
}

}  // namespace
}  // namespace c3align
