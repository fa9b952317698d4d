// The row kernels on CUDA, with the bits of the CPU's: the same arithmetic from core/, the same tree of sums.
//
// A warp owns a segment of 1024 columns of a row, and a row of up to 8192 has up to 8 warps. A thread owns 4
// neighbouring columns of every 128, one float4: its 4 slots of the tree, and one Philox block. Rows stay in
// registers from the first load to the last store; lanes are added by shuffles, segments through shared memory.
// Compiled with --fmad=false: what is fused says fma.
#include "kernels.h"

#include "moments.h"
#include "noise.h"
#include "load_store.h"

namespace c3align {
namespace {

constexpr int kThreads = 256;  // of a block of rows that one warp each holds
constexpr int kBlocksPerProcessor = 8;
constexpr int kMostSteps = int(kSegment / kSlots);
constexpr int kNoiseStepsAtOnce = 2;  // two chains of Philox and polynomials beside each other

// The mean where there is none, in any dtype: its negative leaves every product as it is.
__device__ alignas(32) double zeros[kMaxCudaDims] = {};

// What is compiled apart: plain noise needs no registers beside the row, shaped noise as many again.
enum class NoiseKind { kNone, kPlain, kShaped };

// What is absent does nothing.
template <Layout kLayout, typename T>
__device__ __forceinline__ void scale_and_shift(Quad<T>& quad, const RowMap& map, int step, const Place& place) {
    const Quad<T> scale = load_vector<kLayout, T>(map.scale, step, place);
    const Quad<T> shift = load_vector<kLayout, T>(map.shift, step, place);
    for (int k = 0; k < kColumns; ++k) {
        if (map.scale && map.shift)
            quad.v[k] = multiply_add(quad.v[k], scale.v[k], shift.v[k]);
        else
            quad.v[k] = map.scale ? quad.v[k] * scale.v[k] : quad.v[k] + shift.v[k];
    }
}

// x p - mean; columns beyond the last stay zero, for the vectors are zero there.
template <int kSteps, Layout kLayout, typename T>
__device__ __forceinline__ void centre(Quad<T>* row, T p, const RowMap& map, const Place& place) {
    const T* means = static_cast<const T*>(map.mean ? map.mean : zeros) + place.first;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        const Quad<T> mean = load<kLayout, T>(means, step, place, 1);
        for (int k = 0; k < kColumns; ++k) row[step].v[k] = multiply_add(row[step].v[k], p, -mean.v[k]);
    }
}

// Scaled and shifted as RowMap asks. What is asked of all rows alike is asked once, not at every four columns.
template <int kSteps, Layout kLayout, typename T>
__device__ __forceinline__ void scale_and_shift_row(Quad<T>* row, const RowMap& map, const Place& place) {
    if (!map.scale && !map.shift) return;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) scale_and_shift<kLayout>(row[step], map, step, place);
}

// Whether a centred row is at the mean, where its norm is not taken anyway. One entry above the limit says no, and as a
// rule one of the thread's first four or of its neighbours' does, so that seldom anything is added.
template <int kSteps, typename T>
__device__ __forceinline__ bool is_at_mean(const Quad<T>* row, double limit, const Place& place,
                                           double (*slots)[kSlots]) {
    bool near = true;
    for (int k = 0; k < kColumns; ++k) near = near && std::fabs(row[0].v[k]) <= T(limit);
    if (!all_of_row(near, slots)) return false;
    return sqrt(sum_of_products<kSteps>(row, row, place, slots)) <= limit;
}

// Adds plain noise and returns the sum of squares. Noise is long arithmetic that needs registers, so that the row waits
// in shared memory, each thread's part for itself, and comes back four columns at a time.
template <int kSteps, Layout kLayout, typename T>
__device__ __forceinline__ double add_noise(Quad<T>* row, T sigma, const KeySchedule& keys, uint64_t number,
                                            const Place& place, int n_threads, double (*slots)[kSlots]) {
    Quad<T>* waiting = reinterpret_cast<Quad<T>*>(dynamic_shared()) + threadIdx.x;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) waiting[step * n_threads] = row[step];
    Slots own = {};
#pragma unroll kNoiseStepsAtOnce
    for (int step = 0; step < kSteps && place.reaches<kLayout>(step); ++step) {
        Quad<T> quad = waiting[step * n_threads];
        const Quad<T> e = normals_of<T>(keys, number, place.block(step));
        for (int k = 0; k < kColumns; ++k) {
            const T amount = place.holds<kLayout>(step, k) ? sigma : T(0);
            quad.v[k] = multiply_add(e.v[k], amount, quad.v[k]);
        }
        add_products(own, quad, quad);
        waiting[step * n_threads] = quad;
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) row[step] = waiting[step * n_threads];
    return add_slots(own, place, slots);
}

// Adds what noise the kernel is for, and returns the sum of squares.
template <int kSteps, Layout kLayout, NoiseKind kKind, typename T>
__device__ __forceinline__ double finish_map(Quad<T>* row, const Noise& noise, const KeySchedule& keys, uint64_t number,
                                             const Place& place, int n_threads, double (*slots)[kSlots]) {
    if constexpr (kKind == NoiseKind::kPlain)
        return add_noise<kSteps, kLayout>(row, T(noise.sigma), keys, number, place, n_threads, slots);
    if constexpr (kKind == NoiseKind::kShaped) {
        Quad<T> e[kSteps];
        const T amount = shaped_noise<kSteps>(e, noise, keys, number, place, slots);
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            for (int k = 0; k < kColumns; ++k) row[step].v[k] = multiply_add(e[step].v[k], amount, row[step].v[k]);
    }
    return sum_of_products<kSteps>(row, row, place, slots);
}

__device__ __forceinline__ uint32_t flag_of(uint8_t verdict, double norm) {
    return verdict == kAtMean ? kSawAtMean : norm < kMinNorm ? kSawSmall : kSawUnusable;  // NaN is not below
}

// One row in the registers of a warp, or of a block when it has several segments.
template <typename Stored, typename T, int kSteps, Layout kLayout, NoiseKind kKind>
__device__ __forceinline__ void transform_row(const Rows& in, const Rows& out, const RowMap& map,
                                              const KeySchedule& keys, uint8_t* status, uint32_t* flag,
                                              int64_t index, const Place& place, int n_threads, double (*slots)[kSlots]) {
    const Stored* source = first_column<const Stored>(in, index, place);
    Stored* target = first_column<Stored>(out, index, place);
    Quad<T> row[kSteps];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) row[step] = load<kLayout, T>(source, step, place, in.column_stride);
    double norm, length;
    const T p = reciprocal_norm<T>(sum_of_products<kSteps>(row, row, place, slots), &norm);
    uint8_t verdict = usable_norm(norm) ? kOk : kBadNorm;
    centre<kSteps, kLayout>(row, p, map, place);
    const Noise& noise = map.noise;
    const bool measured_last = kKind == NoiseKind::kNone && !map.scale;
    if (map.at_mean > 0 && !measured_last && is_at_mean<kSteps>(row, map.at_mean, place, slots) && verdict == kOk)
        verdict = kAtMean;
    scale_and_shift_row<kSteps, kLayout>(row, map, place);
    const uint64_t number = noise.number(index);
    const double squares = finish_map<kSteps, kLayout, kKind>(row, noise, keys, number, place, n_threads, slots);
    T rescale = T(1);
    if (map.renormalize) {
        rescale = reciprocal_norm<T>(squares, &length);
        const bool at_mean = measured_last && length <= map.at_mean;
        if (verdict == kOk && (at_mean || !usable_norm(length))) verdict = kAtMean;
    }
    if (place.lane == 0 && place.segment == 0) {
        status[index] = verdict;
        if (verdict != kOk && flag) atomicOr(flag, flag_of(verdict, norm));
    }
    if (!map.writes) return;
    if (verdict == kOk) {
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            for (int k = 0; k < kColumns; ++k) row[step].v[k] = row[step].v[k] * rescale;
            store<kLayout>(target, row[step], step, place, out.column_stride);
        }
    } else {
#pragma unroll
        for (int step = 0; step < kSteps; ++step) store<kLayout>(target, Quad<T>{}, step, place, out.column_stride);
    }
}

template <typename Stored, typename T, int kSteps, Layout kLayout, NoiseKind kKind>
__global__ void __launch_bounds__(kThreads)
    transform_narrow(Rows in, Rows out, RowMap map, KeySchedule keys, uint8_t* status, uint32_t* flag) {
    const Place place(int(threadIdx.x) % kWarp, 0, 1, in.n_dims);
    const int64_t warps = int64_t(gridDim.x) * (kThreads / kWarp);
    for (int64_t row = int64_t(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp; row < in.n_rows; row += warps)
        transform_row<Stored, T, kSteps, kLayout, kKind>(in, out, map, keys, status, flag, row, place, kThreads,
                                                            nullptr);
}

template <typename Stored, typename T, Layout kLayout, NoiseKind kKind>
__global__ void __launch_bounds__(kMaxWarps* kWarp)
    transform_wide(Rows in, Rows out, RowMap map, KeySchedule keys, uint8_t* status, uint32_t* flag) {
    __shared__ double slots[kMaxWarps][kSlots];
    const Place place(int(threadIdx.x) % kWarp, int(threadIdx.x) / kWarp, int(blockDim.x) / kWarp, in.n_dims);
    for (int64_t row = blockIdx.x; row < in.n_rows; row += gridDim.x)
        transform_row<Stored, T, kMostSteps, kLayout, kKind>(in, out, map, keys, status, flag, row, place,
                                                             int(blockDim.x), slots);
}

__global__ void normals_kernel(float* out, int64_t n_rows, int n_dims, KeySchedule keys, uint64_t row_offset) {
    const int64_t blocks = (n_dims + kColumns - 1) / kColumns, total = n_rows * blocks;
    const int64_t step = int64_t(gridDim.x) * blockDim.x;
    for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < total; i += step) {
        const int64_t row = i / blocks;
        const int block = int(i % blocks), column = block * kColumns;
        const Quad<float> z = normals_of<float>(keys, row_offset + uint64_t(row), unsigned(block));
        for (int k = 0; k < kColumns; ++k)
            if (column + k < n_dims) out[row * n_dims + column + k] = z.v[k];
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

bool is_aligned(const RowMap& map, size_t item) {
    for (const void* vector : {map.mean, map.scale, map.shift})
        if (reinterpret_cast<uintptr_t>(vector) % (kColumns * item) != 0) return false;
    return true;
}

// With the shared memory that rows with plain noise wait in.
template <typename T, int kSteps, NoiseKind kKind, typename Kernel>
void start(Kernel kernel, int grid, int threads, cudaStream_t stream, const Rows& in, const Rows& out,
           const RowMap& map, uint8_t* status, uint32_t* flag) {
    const size_t shared = kKind == NoiseKind::kPlain ? size_t(threads) * kSteps * sizeof(Quad<T>) : 0;
    allow_shared(kernel, shared);
    launch(kernel, grid, threads, shared, stream, in, out, map, KeySchedule(map.noise.seed), status, flag);
}

// Of rows in whole steps. For float64, where memory takes longest, fewer kernels are compiled.
template <typename T>
constexpr Layout kWholeOf = sizeof(T) == sizeof(float) ? Layout::kWhole : Layout::kQuads;

// The kernel with the fewest steps that hold a row. Every number of whole steps has its own; of the others fewer are
// compiled.
template <typename Stored, typename T, Layout kLayout, NoiseKind kKind, int kSteps>
void launch_narrow(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, uint32_t* flag,
                   cudaStream_t stream) {
    constexpr int kFewer = kLayout == Layout::kWhole ? kSteps - 1 : kSteps / 2;
    if constexpr (kFewer > 0)
        if (in.n_dims <= kFewer * kSlots)
            return launch_narrow<Stored, T, kLayout, kKind, kFewer>(in, out, map, status, flag, stream);
    constexpr int kRows = kThreads / kWarp;
    const int grid = grid_for((in.n_rows + kRows - 1) / kRows);
    start<T, kSteps, kKind>(transform_narrow<Stored, T, kSteps, kLayout, kKind>, grid, kThreads, stream, in, out, map,
                            status, flag);
}

template <typename Stored, typename T, Layout kLayout, NoiseKind kKind>
void launch_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, uint32_t* flag,
                      cudaStream_t stream) {
    if constexpr (kLayout == Layout::kQuads)
        if (in.n_dims <= kSegment && in.n_dims % kSlots == 0)
            return launch_narrow<Stored, T, kWholeOf<T>, kKind, kMostSteps>(in, out, map, status, flag, stream);
    if (in.n_dims <= kSegment)
        return launch_narrow<Stored, T, kLayout, kKind, kMostSteps>(in, out, map, status, flag, stream);
    const int warps = int((in.n_dims + kSegment - 1) / kSegment), grid = grid_for(in.n_rows);
    start<T, kMostSteps, kKind>(transform_wide<Stored, T, kLayout, kKind>, grid, warps * kWarp, stream, in, out, map,
                                status, flag);
}

template <typename Stored, typename T>
const char* run_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, uint32_t* flag,
                          cudaStream_t stream) {
    if (in.n_rows == 0) return nullptr;
    const bool aligned =
        is_aligned(in, sizeof(Stored)) && is_aligned(out, sizeof(Stored)) && is_aligned(map, sizeof(T));
    const bool noisy = map.noise.sigma != 0;
    const auto run = noisy && map.noise.shaped() ? launch_transform<Stored, T, Layout::kStrided, NoiseKind::kShaped>
                     : noisy && aligned          ? launch_transform<Stored, T, Layout::kQuads, NoiseKind::kPlain>
                     : noisy                     ? launch_transform<Stored, T, Layout::kStrided, NoiseKind::kPlain>
                     : aligned                   ? launch_transform<Stored, T, Layout::kQuads, NoiseKind::kNone>
                                                 : launch_transform<Stored, T, Layout::kStrided, NoiseKind::kNone>;
    run(in, out, map, status, flag, stream);
    return launch_error();
}

template <typename Stored, typename T, Layout kLayout, int kSteps, bool kWide>
void launch_moments(const Rows& in, int64_t* totals, uint8_t* status, cudaStream_t stream) {
    constexpr int kFewer = kWide ? 0 : kLayout == Layout::kWhole ? kSteps - 1 : kSteps / 2;
    if constexpr (kFewer > 0)
        if (in.n_dims <= kFewer * kSlots)
            return launch_moments<Stored, T, kLayout, kFewer, kWide>(in, totals, status, stream);
    const int warps = kWide ? int((in.n_dims + kSegment - 1) / kSegment) : kThreads / kWarp;
    const int64_t rows_at_once = kWide ? 1 : warps;
    const size_t shared = size_t(warps) * kSteps * kSlots * sizeof(T);
    const auto kernel = moments_kernel<Stored, T, kSteps, kLayout, kWide>;
    allow_shared(kernel, shared);
    launch(kernel, grid_for((in.n_rows + rows_at_once - 1) / rows_at_once), warps * kWarp, shared, stream, in,
           reinterpret_cast<Total*>(totals), status);
}

template <typename Stored, typename T>
const char* run_moments(const Rows& in, int64_t* totals, uint8_t* status, cudaStream_t stream) {
    if (in.n_rows == 0) return nullptr;
    const bool wide = in.n_dims > kSegment, quads = is_aligned(in, sizeof(Stored));
    const auto run = wide && quads        ? launch_moments<Stored, T, Layout::kQuads, kMostSteps, true>
                     : wide               ? launch_moments<Stored, T, Layout::kStrided, kMostSteps, true>
                     : !quads             ? launch_moments<Stored, T, Layout::kStrided, kMostSteps, false>
                     : in.n_dims % kSlots ? launch_moments<Stored, T, Layout::kQuads, kMostSteps, false>
                                          : launch_moments<Stored, T, kWholeOf<T>, kMostSteps, false>;
    run(in, totals, status, stream);
    return launch_error();
}

}  // namespace

const char* cuda_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, uint32_t* flag,
                           void* stream) {
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    if (in.n_dims > kMaxCudaDims) return "rows wider than 8192";
    switch (in.dtype) {
        case Dtype::kFloat32: return run_transform<float, float>(in, out, map, status, flag, queue);
        case Dtype::kFloat64: return run_transform<double, double>(in, out, map, status, flag, queue);
        case Dtype::kFloat16: return run_transform<__half, float>(in, out, map, status, flag, queue);
        case Dtype::kBFloat16: return run_transform<__nv_bfloat16, float>(in, out, map, status, flag, queue);
    }
    return "an unknown dtype";
}

const char* cuda_moments(const Rows& in, int64_t* totals, uint8_t* status, void* stream) {
    const cudaStream_t queue = static_cast<cudaStream_t>(stream);
    if (in.n_dims > kMaxCudaDims) return "rows wider than 8192";
    switch (in.dtype) {
        case Dtype::kFloat32: return run_moments<float, float>(in, totals, status, queue);
        case Dtype::kFloat64: return run_moments<double, double>(in, totals, status, queue);
        case Dtype::kFloat16: return run_moments<__half, float>(in, totals, status, queue);
        case Dtype::kBFloat16: return run_moments<__nv_bfloat16, float>(in, totals, status, queue);
    }
    return "an unknown dtype";
}

const char* cuda_normals(float* out, int64_t n_rows, int64_t n_dims, uint64_t seed, uint64_t row_offset, void* stream) {
    if (n_rows == 0) return nullptr;
    const int64_t total = n_rows * ((n_dims + kColumns - 1) / kColumns);
    launch(normals_kernel, grid_for((total + kThreads - 1) / kThreads), kThreads, 0, static_cast<cudaStream_t>(stream),
           out, n_rows, int(n_dims), KeySchedule(seed), row_offset);
    return launch_error();
}

int cuda_device_count() { return device_count(); }

}  // namespace c3align
