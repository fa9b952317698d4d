// The row kernels on CUDA, with the bits of the CPU's: the same arithmetic from core/, the same tree of sums.
//
// A warp owns a segment of 1024 columns of a row, and a row of up to 8192 has up to 8 warps. A thread owns 4
// neighbouring columns of every 128, one float4: its 4 slots of the tree, and one Philox block. Rows stay in
// registers from the first load to the last store; lanes are added by shuffles, segments through shared memory.
// Compiled with --fmad=false: what is fused says fma.
#include "kernels.h"

#include "../core/fixed_sum.h"
#include "../core/normal.h"
#include "launch.h"

namespace c3align {
namespace {

constexpr int kWarp = 32, kColumns = 4, kMaxWarps = int(kMaxCudaDims / kSegment);
constexpr int kThreads = 256;  // of a block of rows that one warp each holds
constexpr int kBlocksPerProcessor = 8;
static_assert(kSlots == kWarp * kColumns, "a warp's float4 are the slots of the tree");

template <typename T>
struct Quad {
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

// Where a thread stands in its row.
struct Place {
    int lane, segment, n_segments;
    __device__ int64_t column(int step) const { return int64_t(segment) * kSegment + step * kSlots + lane * kColumns; }
};

template <typename Stored>
struct alignas(sizeof(Stored) * kColumns) Packed {
    Stored v[kColumns];
};

// Four columns; zeros beyond the last one, which are exact in every sum.
template <bool kAligned, typename Stored, typename T>
__device__ __forceinline__ Quad<T> load(const Stored* row, int64_t column, int64_t n_dims, int64_t stride) {
    Quad<T> quad;
    if (kAligned) {
        Packed<Stored> packed = {};
        if (column < n_dims) packed = *reinterpret_cast<const Packed<Stored>*>(row + column);
        for (int k = 0; k < kColumns; ++k) quad.v[k] = widen(packed.v[k]);
    } else {
        for (int k = 0; k < kColumns; ++k)
            quad.v[k] = column + k < n_dims ? T(widen(row[(column + k) * stride])) : T(0);
    }
    return quad;
}

template <bool kAligned, typename Stored, typename T>
__device__ __forceinline__ void store(Stored* row, const Quad<T>& quad, int64_t column, int64_t n_dims, int64_t stride) {
    if (kAligned) {
        if (column >= n_dims) return;
        Packed<Stored> packed;
        for (int k = 0; k < kColumns; ++k) narrow(quad.v[k], packed.v[k]);
        *reinterpret_cast<Packed<Stored>*>(row + column) = packed;
    } else {
        for (int k = 0; k < kColumns; ++k)
            if (column + k < n_dims) narrow(quad.v[k], row[(column + k) * stride]);
    }
}

// The tree of core/row.h over the products of two rows in registers; every thread of the row gets the sum.
template <int kSteps, typename T>
__device__ double sum_of_products(const Quad<T>* a, const Quad<T>* b, const Place& place, double (*slots)[kSlots]) {
    double slot[kColumns];
    for (int k = 0; k < kColumns; ++k) slot[k] = double(a[0].v[k]) * double(b[0].v[k]);
#pragma unroll
    for (int step = 1; step < kSteps; ++step)
        for (int k = 0; k < kColumns; ++k) slot[k] += double(a[step].v[k]) * double(b[step].v[k]);
    if (place.n_segments > 1) {
        for (int k = 0; k < kColumns; ++k) slots[place.segment][place.lane * kColumns + k] = slot[k];
        __syncthreads();
        for (int k = 0; k < kColumns; ++k) slot[k] = slots[0][place.lane * kColumns + k];
        for (int s = 1; s < place.n_segments; ++s)
            for (int k = 0; k < kColumns; ++k) slot[k] += slots[s][place.lane * kColumns + k];
        __syncthreads();  // before the next sum writes there
    }
    double lane = (slot[0] + slot[1]) + (slot[2] + slot[3]);
    for (int distance = kWarp / 2; distance > 0; distance /= 2)
        lane += __shfl_xor_sync(0xFFFFFFFFu, lane, distance);
    return lane;
}

template <typename T>
__device__ __forceinline__ T reciprocal_norm(double sum, double* norm) {
    *norm = sqrt(sum);
    return usable_norm(*norm) ? T(1.0 / *norm) : T(0);
}

template <typename T>
__device__ __forceinline__ T at(const void* vector, int64_t column, int64_t n_dims) {
    return column < n_dims ? static_cast<const T*>(vector)[column] : T(0);
}

// Normals of four columns, zero beyond the last one.
template <typename T>
__device__ __forceinline__ Quad<T> normals_of(uint64_t seed, uint64_t row, int64_t column, int64_t n_dims) {
    const Words<uint64_t> w = row_words(seed, row, uint64_t(column / kColumns));
    float z[kColumns];
    box_muller<Scalar>(uint32_t(w.w0), uint32_t(w.w1), &z[0], &z[1]);
    box_muller<Scalar>(uint32_t(w.w2), uint32_t(w.w3), &z[2], &z[3]);
    Quad<T> quad;
    for (int k = 0; k < kColumns; ++k) quad.v[k] = column + k < n_dims ? T(z[k]) : T(0);
    return quad;
}

// Normals of a whole row, shaped as `Noise` asks; returns what they are multiplied by.
template <int kSteps, typename T>
__device__ T shaped_noise(Quad<T>* e, const Noise& noise, uint64_t row, int64_t n_dims, const Place& place,
                          double (*slots)[kSlots]) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        e[step] = normals_of<T>(noise.seed, row, place.column(step), n_dims);
        if (noise.columns)
            for (int k = 0; k < kColumns; ++k) e[step].v[k] *= at<T>(noise.columns, place.column(step) + k, n_dims);
    }
    if (noise.direction) {
        Quad<T> v[kSteps];
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            for (int k = 0; k < kColumns; ++k) v[step].v[k] = at<T>(noise.direction, place.column(step) + k, n_dims);
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

// (x p - mean) scale + shift + amount e, as RowMap asks; columns beyond the last stay zero.
template <typename T>
__device__ __forceinline__ void apply(Quad<T>& quad, T p, const RowMap& map, int64_t column, int64_t n_dims,
                                      const Quad<T>& e, T amount) {
    for (int k = 0; k < kColumns; ++k) {
        const int64_t j = column + k;
        T value = map.mean ? multiply_add(quad.v[k], p, -at<T>(map.mean, j, n_dims)) : quad.v[k] * p;
        if (map.scale && map.shift)
            value = multiply_add(value, at<T>(map.scale, j, n_dims), at<T>(map.shift, j, n_dims));
        else if (map.scale)
            value = value * at<T>(map.scale, j, n_dims);
        else if (map.shift)
            value = value + at<T>(map.shift, j, n_dims);
        if (map.noise.sigma != 0) value = multiply_add(e.v[k], amount, value);
        quad.v[k] = j < n_dims ? value : T(0);
    }
}

// One row in the registers of a warp, or of a block when it has several segments. kShaped: the noise too, because
// sums over it decide its shape.
template <typename Stored, typename T, int kSteps, bool kAligned, bool kShaped>
__device__ void transform_row(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, int64_t index,
                              const Place& place, double (*slots)[kSlots]) {
    const Stored* source = static_cast<const Stored*>(in.data) + index * in.row_stride;
    Stored* target = static_cast<Stored*>(out.data) + index * out.row_stride;
    Quad<T> row[kSteps];
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
        row[step] = load<kAligned, Stored, T>(source, place.column(step), in.n_dims, in.column_stride);
    double norm;
    const T p = reciprocal_norm<T>(sum_of_products<kSteps>(row, row, place, slots), &norm);
    uint8_t verdict = usable_norm(norm) ? kOk : kBadNorm;
    const Noise& noise = map.noise;
    const uint64_t number = noise.row_offset + uint64_t(noise.first_row ? *noise.first_row : 0) + uint64_t(index);
    Quad<T> e[kShaped ? kSteps : 1] = {};
    T amount = T(noise.sigma);
    if constexpr (kShaped) amount = shaped_noise<kSteps>(e, noise, number, in.n_dims, place, slots);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        const int64_t column = place.column(step);
        if (!kShaped && noise.sigma != 0) e[0] = normals_of<T>(noise.seed, number, column, in.n_dims);
        apply(row[step], p, map, column, in.n_dims, e[kShaped ? step : 0], amount);
    }
    T rescale = T(1);
    if (map.renormalize) {
        double length;
        rescale = reciprocal_norm<T>(sum_of_products<kSteps>(row, row, place, slots), &length);
        if (verdict == kOk && !usable_norm(length)) verdict = kAtMean;
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        for (int k = 0; k < kColumns; ++k) row[step].v[k] = verdict == kOk ? row[step].v[k] * rescale : T(0);
        store<kAligned>(target, row[step], place.column(step), in.n_dims, out.column_stride);
    }
    if (place.lane == 0 && place.segment == 0) status[index] = verdict;
}

template <typename Stored, typename T, int kSteps, bool kAligned, bool kShaped>
__global__ void transform_narrow(Rows in, Rows out, RowMap map, uint8_t* status) {
    const Place place{int(threadIdx.x) % kWarp, 0, 1};
    const int64_t warps = int64_t(gridDim.x) * (blockDim.x / kWarp);
    for (int64_t row = int64_t(blockIdx.x) * (blockDim.x / kWarp) + threadIdx.x / kWarp; row < in.n_rows; row += warps)
        transform_row<Stored, T, kSteps, kAligned, kShaped>(in, out, map, status, row, place, nullptr);
}

template <typename Stored, typename T, bool kAligned, bool kShaped>
__global__ void transform_wide(Rows in, Rows out, RowMap map, uint8_t* status) {
    __shared__ double slots[kMaxWarps][kSlots];
    const Place place{int(threadIdx.x) % kWarp, int(threadIdx.x) / kWarp, int(blockDim.x) / kWarp};
    for (int64_t row = blockIdx.x; row < in.n_rows; row += gridDim.x)
        transform_row<Stored, T, kSegment / kSlots, kAligned, kShaped>(in, out, map, status, row, place, slots);
}

// Sums of a block in shared memory, added to the result once: integers, so that no order shows.
template <typename Stored, typename T, bool kAligned>
__global__ void moments_kernel(Rows in, unsigned long long* sums, unsigned long long* squares, double* norms,
                               uint8_t* status) {
    unsigned long long* totals = dynamic_shared();
    __shared__ double slots[kMaxWarps][kSlots];
    constexpr int kSteps = kSegment / kSlots;
    const int n_segments = int((in.n_dims + kSegment - 1) / kSegment);
    const bool wide = n_segments > 1;
    const int warp = int(threadIdx.x) / kWarp, n_warps = int(blockDim.x) / kWarp;
    const Place place{int(threadIdx.x) % kWarp, wide ? warp : 0, n_segments};
    for (int64_t j = threadIdx.x; j < 2 * in.n_dims; j += blockDim.x) totals[j] = 0;
    __syncthreads();
    const int64_t rows_at_once = wide ? 1 : n_warps;
    for (int64_t base = int64_t(blockIdx.x) * rows_at_once; base < in.n_rows; base += gridDim.x * rows_at_once) {
        const int64_t index = base + (wide ? 0 : warp);
        if (index >= in.n_rows) continue;
        const Stored* source = static_cast<const Stored*>(in.data) + index * in.row_stride;
        Quad<T> row[kSteps];
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            row[step] = load<kAligned, Stored, T>(source, place.column(step), in.n_dims, in.column_stride);
        double norm;
        const T p = reciprocal_norm<T>(sum_of_products<kSteps>(row, row, place, slots), &norm);
        const bool usable = usable_norm(norm);
        if (place.lane == 0 && place.segment == 0) {
            norms[index] = norm;
            status[index] = usable ? kOk : kBadNorm;
        }
        if (!usable) continue;
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            for (int k = 0; k < kColumns; ++k) {
                const int64_t j = place.column(step) + k;
                if (j >= in.n_dims) continue;
                const double unit = double(row[step].v[k] * p);
                atomicAdd(&totals[j], (unsigned long long)to_fixed(unit));
                atomicAdd(&totals[in.n_dims + j], (unsigned long long)to_fixed(unit * unit));
            }
    }
    __syncthreads();
    for (int64_t j = threadIdx.x; j < in.n_dims; j += blockDim.x) {
        atomicAdd(&sums[j], totals[j]);
        atomicAdd(&squares[j], totals[in.n_dims + j]);
    }
}

__global__ void normals_kernel(float* out, int64_t n_rows, int64_t n_dims, uint64_t seed, uint64_t row_offset) {
    const int64_t blocks = (n_dims + kColumns - 1) / kColumns, total = n_rows * blocks;
    const int64_t step = int64_t(gridDim.x) * blockDim.x;
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
        const int64_t row = i / blocks, block = i % blocks;
        const Quad<float> z = normals_of<float>(seed, row_offset + uint64_t(row), block * kColumns, n_dims);
        for (int k = 0; k < kColumns; ++k)
            if (block * kColumns + k < n_dims) out[row * n_dims + block * kColumns + k] = z.v[k];
    }
}

int grid_for(int64_t n_blocks) {
    const int64_t most = int64_t(processor_count()) * kBlocksPerProcessor;
    return int(n_blocks < 1 ? 1 : n_blocks < most ? n_blocks : most);
}

// Whether four columns can be moved at once: neighbours in memory, and every row aligned for it.
bool is_aligned(const Rows& rows, size_t item) {
    return rows.column_stride == 1 && rows.n_dims % kColumns == 0 && rows.row_stride % kColumns == 0 &&
           reinterpret_cast<uintptr_t>(rows.data) % (kColumns * item) == 0;
}

// Shaped noise holds two rows in registers and is asked for seldom: fewer widths are compiled.
template <typename Stored, typename T, bool kAligned, bool kShaped, int kSteps>
void launch_narrow(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, cudaStream_t stream) {
    constexpr int kFewer = kShaped ? kSteps / 2 : kSteps - 1;
    if constexpr (kFewer > 0)
        if (in.n_dims <= kFewer * kSlots)
            return launch_narrow<Stored, T, kAligned, kShaped, kFewer>(in, out, map, status, stream);
    constexpr int kRows = kThreads / kWarp;
    const int grid = grid_for((in.n_rows + kRows - 1) / kRows);
    launch(transform_narrow<Stored, T, kSteps, kAligned, kShaped>, grid, kThreads, 0, stream, in, out, map, status);
}

template <typename Stored, typename T, bool kAligned, bool kShaped>
void launch_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, cudaStream_t stream) {
    if (in.n_dims <= kSegment)
        return launch_narrow<Stored, T, kAligned, kShaped, kSegment / kSlots>(in, out, map, status, stream);
    const int warps = int((in.n_dims + kSegment - 1) / kSegment), grid = grid_for(in.n_rows);
    launch(transform_wide<Stored, T, kAligned, kShaped>, grid, warps * kWarp, 0, stream, in, out, map, status);
}

template <typename Stored, typename T>
const char* run_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, cudaStream_t stream) {
    if (in.n_rows == 0) return nullptr;
    const bool aligned = is_aligned(in, sizeof(Stored)) && is_aligned(out, sizeof(Stored));
    const auto run = map.noise.shaped() ? launch_transform<Stored, T, false, true>
                     : aligned          ? launch_transform<Stored, T, true, false>
                                        : launch_transform<Stored, T, false, false>;
    run(in, out, map, status, stream);
    return launch_error();
}

template <typename Stored, typename T>
const char* run_moments(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status,
                        cudaStream_t stream) {
    if (in.n_rows == 0) return nullptr;
    const int segments = int((in.n_dims + kSegment - 1) / kSegment);
    const int threads = segments > 1 ? segments * kWarp : kThreads;
    const int64_t rows_at_once = segments > 1 ? 1 : kThreads / kWarp;
    const size_t shared = size_t(2 * in.n_dims) * sizeof(unsigned long long);
    const auto kernel =
        is_aligned(in, sizeof(Stored)) ? moments_kernel<Stored, T, true> : moments_kernel<Stored, T, false>;
    allow_shared(kernel, shared);
    const int grid = grid_for((in.n_rows + rows_at_once - 1) / rows_at_once);
    launch(kernel, grid, threads, shared, stream, in, reinterpret_cast<unsigned long long*>(sums),
           reinterpret_cast<unsigned long long*>(squares), norms, status);
    return launch_error();
}

}  // namespace

const char* cuda_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, void* stream) {
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    if (in.n_dims > kMaxCudaDims) return "rows wider than 8192";
    switch (in.dtype) {
        case Dtype::kFloat32: return run_transform<float, float>(in, out, map, status, queue);
        case Dtype::kFloat64: return run_transform<double, double>(in, out, map, status, queue);
        case Dtype::kFloat16: return run_transform<__half, float>(in, out, map, status, queue);
        case Dtype::kBFloat16: return run_transform<__nv_bfloat16, float>(in, out, map, status, queue);
    }
    return "an unknown dtype";
}

const char* cuda_moments(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status,
                         void* stream) {
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    if (in.n_dims > kMaxCudaDims) return "rows wider than 8192";
    switch (in.dtype) {
        case Dtype::kFloat32: return run_moments<float, float>(in, sums, squares, norms, status, queue);
        case Dtype::kFloat64: return run_moments<double, double>(in, sums, squares, norms, status, queue);
        case Dtype::kFloat16: return run_moments<__half, float>(in, sums, squares, norms, status, queue);
        case Dtype::kBFloat16: return run_moments<__nv_bfloat16, float>(in, sums, squares, norms, status, queue);
    }
    return "an unknown dtype";
}

const char* cuda_normals(float* out, int64_t n_rows, int64_t n_dims, uint64_t seed, uint64_t row_offset, void* stream) {
    if (n_rows == 0) return nullptr;
    const int64_t total = n_rows * ((n_dims + kColumns - 1) / kColumns);
    launch(normals_kernel, grid_for((total + kThreads - 1) / kThreads), kThreads, 0, static_cast<cudaStream_t>(stream),
           out, n_rows, n_dims, seed, row_offset);
    return launch_error();
}

int cuda_device_count() { return device_count(); }

}  // namespace c3align
