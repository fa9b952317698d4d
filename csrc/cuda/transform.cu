// The row kernels on CUDA, with the bits of the CPU's: the same arithmetic from core/, the same tree of sums.
//
// A warp owns a segment of 1024 columns of a row, and a row of up to 8192 has up to 8 warps. A thread owns 4
// neighbouring columns of every 128, one float4: its 4 slots of the tree, and one Philox block. Rows stay in
// registers from the first load to the last store; lanes are added by shuffles, segments through shared memory.
// A warp takes two rows of one segment at once, where there are registers for them: one load of the mean, one root and
// one reciprocal serve both, and their loads and chains of arithmetic run side by side.
// Compiled with --fmad=false: what is fused says fma.
#include "kernels.h"

#include "moments.h"
#include "noise.h"
#include "load_store.h"

namespace c3align {
namespace {

constexpr int kThreads = 128;  // of a block of rows that one warp each holds
constexpr int kMostSteps = int(kSegment / kSlots);

// The mean where there is none, in any dtype: its negative leaves every product as it is.
__device__ alignas(32) double zeros[kMaxCudaDims] = {};

// What is compiled apart: plain noise needs no registers beside the row, shaped noise as many again.
enum class NoiseKind { kNone, kPlain, kShaped };

// How many rows a warp has at once: two where their registers leave room for enough warps.
template <typename T, Layout kLayout, NoiseKind kKind>
constexpr int kRowsOfWarp =
    sizeof(T) == sizeof(float) && kLayout != Layout::kStrided && kKind != NoiseKind::kShaped ? 2 : 1;

// So many that a processor has 20 warps, of rows of six steps, where the compiler has to be told; shorter rows leave
// room for as many, and longer ones would leave the registers.
template <int kRows, int kSteps, NoiseKind kKind>
constexpr int kBlocksWanted = kRows == 2 && kSteps == 6 && kKind == NoiseKind::kNone ? 20 * kWarp / kThreads : 0;

constexpr int kNoiseStepsAtOnce = 2;  // so that constants and addresses serve both

// x p - mean; columns beyond the last stay zero, for the vectors are zero there. `p` is that of the thread's own row.
template <int kRows, int kSteps, Layout kLayout, typename T>
__device__ __forceinline__ void centre(Quad<T> (&rows)[kRows][kSteps], T p, const RowMap& map, const Place& place) {
    const T* means = static_cast<const T*>(map.mean ? map.mean : zeros) + place.first;
    T factors[kRows];
    for (int r = 0; r < kRows; ++r) factors[r] = of_row<kRows>(p, r);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        const Quad<T> mean = load<kLayout, T>(means, step, place, 1);
        for (int r = 0; r < kRows; ++r)
            for (int k = 0; k < kColumns; ++k)
                rows[r][step].v[k] = multiply_add(rows[r][step].v[k], factors[r], -mean.v[k]);
    }
}

// Scaled and shifted as RowMap asks: what is absent does nothing.
template <int kRows, int kSteps, Layout kLayout, bool kScale, bool kShift, typename T>
__device__ __forceinline__ void affine(Quad<T> (&rows)[kRows][kSteps], const RowMap& map, const Place& place) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
        const Quad<T> scale = load_vector<kLayout, T>(kScale ? map.scale : nullptr, step, place);
        const Quad<T> shift = load_vector<kLayout, T>(kShift ? map.shift : nullptr, step, place);
        for (int r = 0; r < kRows; ++r)
            for (int k = 0; k < kColumns; ++k) {
                T& x = rows[r][step].v[k];
                x = !kShift ? x * scale.v[k] : kScale ? multiply_add(x, scale.v[k], shift.v[k]) : x + shift.v[k];
            }
    }
}

template <int kRows, int kSteps, Layout kLayout, typename T>
__device__ __forceinline__ void scale_and_shift(Quad<T> (&rows)[kRows][kSteps], const RowMap& map, const Place& place) {
    if (map.scale && map.shift)
        affine<kRows, kSteps, kLayout, true, true>(rows, map, place);
    else if (map.scale)
        affine<kRows, kSteps, kLayout, true, false>(rows, map, place);
    else if (map.shift)
        affine<kRows, kSteps, kLayout, false, true>(rows, map, place);
}

// Whether the thread's own row, centred, is at the mean, where its norm is not taken anyway. One entry above the limit
// says no, and as a rule a thread's first or its neighbours' is, so that seldom anything is added.
template <int kRows, int kSteps, typename T>
__device__ __forceinline__ bool is_at_mean(const Quad<T> (&rows)[kRows][kSteps], double limit, const Place& place,
                                           double (*slots)[kSlots]) {
    bool near = false;
    for (int r = 0; r < kRows; ++r) near = near || std::fabs(rows[r][0].v[0]) <= T(limit);
    if (!all_of_row(near, slots)) return false;
    return sqrt(sum_of_squares(rows, place, slots)) <= limit;
}

// Adds plain noise and returns the sum of squares. Noise is long arithmetic that needs registers, so that rows wait in
// shared memory, each thread's part for itself, and come back four columns at a time.
template <int kRows, int kSteps, Layout kLayout, typename T>
__device__ __forceinline__ double add_noise(Quad<T> (&rows)[kRows][kSteps], T sigma, const KeySchedule& keys,
                                            const uint64_t (&numbers)[kRows], const Place& place, int n_threads,
                                            double (*slots)[kSlots]) {
    Quad<T>* waiting = reinterpret_cast<Quad<T>*>(dynamic_shared()) + threadIdx.x;
#pragma unroll
    for (int i = 0; i < kRows * kSteps; ++i) waiting[i * n_threads] = rows[i / kSteps][i % kSteps];
    Slots own[kRows] = {};
    RowStart starts[kRows];
    for (int r = 0; r < kRows; ++r) starts[r] = RowStart(keys, numbers[r]);
#pragma unroll kNoiseStepsAtOnce
    for (int step = 0; step < kSteps && place.reaches<kLayout>(step); ++step) {
        Quad<T> e[kRows];
        normals_of(e, keys, starts, place.block(step));
        for (int r = 0; r < kRows; ++r) {
            Quad<T> quad = waiting[(r * kSteps + step) * n_threads];
            for (int k = 0; k < kColumns; ++k) {
                const T amount = place.holds<kLayout>(step, k) ? sigma : T(0);
                quad.v[k] = multiply_add(e[r].v[k], amount, quad.v[k]);
            }
            add_products(own[r], quad, quad);
            waiting[(r * kSteps + step) * n_threads] = quad;
        }
    }
#pragma unroll
    for (int i = 0; i < kRows * kSteps; ++i) rows[i / kSteps][i % kSteps] = waiting[i * n_threads];
    return add_rows(own, place, slots);
}

// Adds what noise the kernel is for, and returns the sum of squares of the thread's own row.
template <NoiseKind kKind, Layout kLayout, int kRows, int kSteps, typename T>
__device__ __forceinline__ double finish_map(Quad<T> (&rows)[kRows][kSteps], const Noise& noise,
                                             const KeySchedule& keys, const uint64_t (&numbers)[kRows],
                                             const Place& place, int n_threads, double (*slots)[kSlots]) {
    if constexpr (kKind == NoiseKind::kPlain)
        return add_noise<kRows, kSteps, kLayout>(rows, T(noise.sigma), keys, numbers, place, n_threads, slots);
    if constexpr (kKind == NoiseKind::kShaped) {
        static_assert(kRows == 1, "shaped noise needs the registers of a second row");
        Quad<T> e[kSteps];
        const T amount = shaped_noise<kSteps>(e, noise, keys, numbers[0], place, slots);
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            for (int k = 0; k < kColumns; ++k)
                rows[0][step].v[k] = multiply_add(e[step].v[k], amount, rows[0][step].v[k]);
    }
    return sum_of_squares(rows, place, slots);
}

__device__ __forceinline__ uint32_t flag_of(int verdict, double norm) {
    return verdict == kAtMean ? kSawAtMean : norm < kMinNorm ? kSawSmall : kSawUnusable;  // NaN is not below
}

// Times `factor`, which is 0 for a row that gets zeros, whatever it holds.
template <int kSteps, Layout kLayout, typename T, typename Stored>
__device__ __forceinline__ void store_row(Quad<T> (&row)[kSteps], T factor, Stored* target, const Place& place,
                                          int64_t stride) {
    if (factor != T(0)) {
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
            for (int k = 0; k < kColumns; ++k) row[step].v[k] = row[step].v[k] * factor;
            store<kLayout>(target, row[step], step, place, stride);
        }
    } else {
#pragma unroll
        for (int step = 0; step < kSteps; ++step) store<kLayout>(target, Quad<T>{}, step, place, stride);
    }
}

// One row, or two neighbours, in the registers of a warp; or one in those of a block when it has several segments.
// Where a second row is wanted and none is left, the last is taken twice.
template <typename Stored, typename T, int kRows, int kSteps, Layout kLayout, NoiseKind kKind>
__device__ __forceinline__ void transform_rows(const Rows& in, const Rows& out, const RowMap& map,
                                               const KeySchedule& keys, uint8_t* status, uint32_t* flag,
                                               int64_t first, const Place& place, int n_threads, double (*slots)[kSlots]) {
    const int second = kRows == 2 && first + 1 < in.n_rows;  // after the first
    Quad<T> rows[kRows][kSteps];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int step = 0; step < kSteps; ++step)
            rows[r][step] = load<kLayout, T>(first_column<const Stored>(in, first + r * second, place), step, place,
                                             in.column_stride);
    double norm, length;
    const T p = reciprocal_norm<T>(sum_of_squares(rows, place, slots), &norm);
    int verdict = usable_norm(norm) ? kOk : kBadNorm;
    centre<kRows, kSteps, kLayout>(rows, p, map, place);
    const Noise& noise = map.noise;
    const bool measured_last = kKind == NoiseKind::kNone && !map.scale;
    if (map.at_mean > 0 && !measured_last && is_at_mean(rows, map.at_mean, place, slots) && verdict == kOk)
        verdict = kAtMean;
    scale_and_shift<kRows, kSteps, kLayout>(rows, map, place);
    uint64_t numbers[kRows];
    if (kKind != NoiseKind::kNone) {
        numbers[0] = noise.number(first);
        if (kRows == 2) numbers[kRows - 1] = noise.row_ids ? noise.row_ids[first + second] : numbers[0] + second;
    }
    const double squares = finish_map<kKind, kLayout>(rows, noise, keys, numbers, place, n_threads, slots);
    T rescale = T(1);
    if (map.renormalize) {
        rescale = reciprocal_norm<T>(squares, &length);
        const bool at_mean = measured_last && length <= map.at_mean;
        if (verdict == kOk && (at_mean || !usable_norm(length))) verdict = kAtMean;
    }
    if (place.lane % (kWarp / kRows) == 0 && place.segment == 0) {
        status[first + place.row_of<kRows>() * second] = uint8_t(verdict);
        if (verdict != kOk && flag) atomicOr(flag, flag_of(verdict, norm));
    }
    if (!map.writes) return;
    const T factor = verdict == kOk ? rescale : T(0);
#pragma unroll
    for (int r = 0; r < kRows; ++r)
        store_row<kSteps, kLayout>(rows[r], of_row<kRows>(factor, r),
                                   first_column<Stored>(out, first + r * second, place), place, out.column_stride);
}

template <typename Stored, typename T, int kSteps, Layout kLayout, NoiseKind kKind>
__global__ void __launch_bounds__(kThreads, kBlocksWanted<kRowsOfWarp<T, kLayout, kKind>, kSteps, kKind>)
    transform_narrow(Rows in, Rows out, RowMap map, KeySchedule keys, uint8_t* status, uint32_t* flag) {
    constexpr int kRows = kRowsOfWarp<T, kLayout, kKind>, kAtOnce = kRows * kThreads / kWarp;
    const Place place(int(threadIdx.x) % kWarp, 0, 1, in.n_dims);
    const int64_t mine = int64_t(threadIdx.x) / kWarp * kRows;
    for (int64_t row = int64_t(blockIdx.x) * kAtOnce + mine; row < in.n_rows; row += int64_t(gridDim.x) * kAtOnce)
        transform_rows<Stored, T, kRows, kSteps, kLayout, kKind>(in, out, map, keys, status, flag, row, place, kThreads,
                                                                 nullptr);
}

template <typename Stored, typename T, Layout kLayout, NoiseKind kKind>
__global__ void __launch_bounds__(kMaxWarps* kWarp)
    transform_wide(Rows in, Rows out, RowMap map, KeySchedule keys, uint8_t* status, uint32_t* flag) {
    __shared__ double slots[kMaxWarps][kSlots];
    const Place place(int(threadIdx.x) % kWarp, int(threadIdx.x) / kWarp, int(blockDim.x) / kWarp, in.n_dims);
    for (int64_t row = blockIdx.x; row < in.n_rows; row += gridDim.x)
        transform_rows<Stored, T, 1, kMostSteps, kLayout, kKind>(in, out, map, keys, status, flag, row, place,
                                                                 int(blockDim.x), slots);
}

// `lanes` neighbours, a power of two, have a row, four columns each at a time.
__global__ void __launch_bounds__(kThreads)
    normals_kernel(float* out, int64_t n_rows, int n_dims, bool is_aligned, int lanes, KeySchedule keys,
                   uint64_t row_offset) {
    const int rows_at_once = int(blockDim.x) / lanes, lane = int(threadIdx.x) & (lanes - 1);
    const int64_t first = int64_t(blockIdx.x) * rows_at_once + int(threadIdx.x) / lanes;
    for (int64_t row = first; row < n_rows; row += int64_t(gridDim.x) * rows_at_once) {
        const RowStart starts[1] = {RowStart(keys, row_offset + uint64_t(row))};
        for (int block = lane; block * kColumns < n_dims; block += lanes) {
            Quad<float> e[1];
            normals_of(e, keys, starts, unsigned(block));
            float* target = out + row * n_dims + block * kColumns;
            if (is_aligned)
                *reinterpret_cast<Quad<float>*>(target) = e[0];
            else
                for (int k = 0; k < kColumns && block * kColumns + k < n_dims; ++k) target[k] = e[0].v[k];
        }
    }
}

template <typename Kernel, typename... Arguments>
void launch_resident(Kernel kernel, int64_t n_blocks, int threads, size_t shared, cudaStream_t stream,
                     Arguments... arguments) {
    allow_shared(kernel, shared);
    const int64_t most = resident_blocks(kernel, threads, shared);
    launch(kernel, int(n_blocks < most ? n_blocks : most), threads, shared, stream, arguments...);
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
template <typename T, int kRows, int kSteps, NoiseKind kKind, typename Kernel>
void start(Kernel kernel, int64_t n_blocks, int threads, cudaStream_t stream, const Rows& in, const Rows& out,
           const RowMap& map, uint8_t* status, uint32_t* flag) {
    const size_t shared = kKind == NoiseKind::kPlain ? size_t(threads) * kRows * kSteps * sizeof(Quad<T>) : 0;
    launch_resident(kernel, n_blocks, threads, shared, stream, in, out, map, KeySchedule(map.noise.seed), status, flag);
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
    constexpr int kRows = kRowsOfWarp<T, kLayout, kKind>, kAtOnce = kRows * kThreads / kWarp;
    start<T, kRows, kSteps, kKind>(transform_narrow<Stored, T, kSteps, kLayout, kKind>,
                                   (in.n_rows + kAtOnce - 1) / kAtOnce, kThreads, stream, in, out, map, status, flag);
}

template <typename Stored, typename T, Layout kLayout, NoiseKind kKind>
void launch_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, uint32_t* flag,
                      cudaStream_t stream) {
    if constexpr (kLayout == Layout::kQuads)
        if (in.n_dims <= kSegment && in.n_dims % kSlots == 0)
            return launch_narrow<Stored, T, kWholeOf<T>, kKind, kMostSteps>(in, out, map, status, flag, stream);
    if (in.n_dims <= kSegment)
        return launch_narrow<Stored, T, kLayout, kKind, kMostSteps>(in, out, map, status, flag, stream);
    const int warps = int((in.n_dims + kSegment - 1) / kSegment);
    start<T, 1, kMostSteps, kKind>(transform_wide<Stored, T, kLayout, kKind>, in.n_rows, warps * kWarp, stream, in, out,
                                   map, status, flag);
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
    const int warps = kWide ? int((in.n_dims + kSegment - 1) / kSegment) : kMaxWarps;
    const int64_t rows_at_once = kWide ? 1 : warps;
    const size_t shared = size_t(warps) * kSteps * kSlots * sizeof(T);
    const auto kernel = moments_kernel<Stored, T, kSteps, kLayout, kWide>;
    launch_resident(kernel, (in.n_rows + rows_at_once - 1) / rows_at_once, warps * kWarp, shared, stream, in,
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
    int lanes = 1;
    while (lanes < kWarp && lanes * kColumns < n_dims) lanes *= 2;
    const int rows_at_once = kThreads / lanes;
    const bool is_aligned = n_dims % kColumns == 0 && reinterpret_cast<uintptr_t>(out) % sizeof(Quad<float>) == 0;
    launch_resident(normals_kernel, (n_rows + rows_at_once - 1) / rows_at_once, kThreads, 0,
                    static_cast<cudaStream_t>(stream), out, n_rows, int(n_dims), is_aligned, lanes, KeySchedule(seed),
                    row_offset);
    return launch_error();
}

int cuda_device_count() { return device_count(); }

}  // namespace c3align
