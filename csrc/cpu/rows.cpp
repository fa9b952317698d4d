// One row at a time: read once into a buffer that stays in L1, normalised, mapped, written once.
// This file is compiled once for each instruction set (C3ALIGN_ISA); the loops are plain, for the compiler to
// vectorise, and every operation is the one that c3align/ops/reference.py names, so all builds agree to the bit.
#include "kernels.h"

#include <new>

#include "../core/fixed_sum.h"
#include "../core/half.h"
#include "../core/normal.h"
#include "simd.h"

#define C3_JOIN_(a, b) a##b
#define C3_JOIN(a, b) C3_JOIN_(a, b)
#define C3_STRING_(a) #a
#define C3_STRING(a) C3_STRING_(a)

namespace c3align {
namespace {

#if defined(C3ALIGN_SIMD)

typedef double Doubles __attribute__((vector_size(kVectorBytes)));
typedef float Narrow __attribute__((vector_size(kVectorBytes / 2)));  // as many floats as Doubles has lanes

C3_HD Doubles load_doubles(const double* source) {
    Doubles value;
    memcpy(&value, source, sizeof value);
    return value;
}

C3_HD Doubles load_doubles(const float* source) {
    Narrow value;
    memcpy(&value, source, sizeof value);
    return __builtin_convertvector(value, Doubles);
}

// Eight registers of slots at a time, in passes over the row, which lies in L1.
template <typename T>
double sum_of_squares(const T* row, int64_t padded) {
    constexpr int kAtOnce = 8, kPass = kAtOnce * kDoubles;
    alignas(64) double slots[kSlots];
    for (int pass = 0; pass < kSlots; pass += kPass) {
        Doubles total[kAtOnce] = {};
        for (int64_t first = 0; first < padded; first += kSegment) {
            const int64_t last = first + kSegment < padded ? first + kSegment : padded;
            Doubles segment[kAtOnce] = {};
            for (const T* step = row + first + pass; step < row + last; step += kSlots)
                for (int k = 0; k < kAtOnce; ++k) {
                    const Doubles x = load_doubles(step + k * kDoubles);
                    segment[k] += x * x;
                }
            for (int k = 0; k < kAtOnce; ++k) total[k] += segment[k];
        }
        memcpy(slots + pass, total, sizeof total);
    }
    return reduce_slots(slots);
}

#else

template <typename T>
double sum_of_squares(const T* row, int64_t padded) {
    double slots[kSlots] = {};
    for (int64_t first = 0; first < padded; first += kSegment) {
        const int64_t last = first + kSegment < padded ? first + kSegment : padded;
        double segment[kSlots] = {};
        for (int64_t step = first; step < last; step += kSlots)
            for (int j = 0; j < kSlots; ++j) segment[j] += double(row[step + j]) * double(row[step + j]);
        for (int j = 0; j < kSlots; ++j) slots[j] += segment[j];
    }
    return reduce_slots(slots);
}

#endif

// The factor that brings the row to norm 1, in the row's own type; 0 when the norm is unusable.
template <typename T>
T reciprocal_norm(const T* row, int64_t padded, double* norm) {
    *norm = std::sqrt(sum_of_squares(row, padded));
    return usable_norm(*norm) ? T(1.0 / *norm) : T(0);
}

template <typename Stored, typename T>
void load(const Rows& rows, int64_t index, T* row) {
    const Stored* source = static_cast<const Stored*>(rows.data) + index * rows.row_stride;
    if (rows.column_stride == 1)
        for (int64_t j = 0; j < rows.n_dims; ++j) row[j] = widen(source[j]);
    else
        for (int64_t j = 0; j < rows.n_dims; ++j) row[j] = widen(source[j * rows.column_stride]);
}

template <typename Stored, typename T>
void store(const T* row, T factor, const Rows& rows, int64_t index) {
    Stored* target = static_cast<Stored*>(rows.data) + index * rows.row_stride;
    if (rows.column_stride == 1)
        for (int64_t j = 0; j < rows.n_dims; ++j) narrow(row[j] * factor, target[j]);
    else
        for (int64_t j = 0; j < rows.n_dims; ++j) narrow(row[j] * factor, target[j * rows.column_stride]);
}

template <typename Stored>
void store_zeros(const Rows& rows, int64_t index) {
    Stored* target = static_cast<Stored*>(rows.data) + index * rows.row_stride;
    for (int64_t j = 0; j < rows.n_dims; ++j) target[j * rows.column_stride] = Stored{};
}

template <typename T>
void apply_affine(T* row, T factor, const RowMap& map, int64_t n_dims) {
    const T* mean = static_cast<const T*>(map.mean);
    const T* scale = static_cast<const T*>(map.scale);
    const T* shift = static_cast<const T*>(map.shift);
    if (mean)
        for (int64_t j = 0; j < n_dims; ++j) row[j] = multiply_add(row[j], factor, -mean[j]);
    else
        for (int64_t j = 0; j < n_dims; ++j) row[j] = row[j] * factor;
    if (scale && shift)
        for (int64_t j = 0; j < n_dims; ++j) row[j] = multiply_add(row[j], scale[j], shift[j]);
    else if (scale)
        for (int64_t j = 0; j < n_dims; ++j) row[j] = row[j] * scale[j];
    else if (shift)
        for (int64_t j = 0; j < n_dims; ++j) row[j] = row[j] + shift[j];
}

// Normals of one row; `padded` columns, a multiple of kSlots, are written.
#if defined(C3ALIGN_SIMD)

void row_normals(float* out, int64_t padded, uint64_t seed, uint64_t row) {
    using V = Vector;
    V::W block;
    for (int i = 0; i < kDoubles; ++i) block[i] = uint64_t(i);
    for (int64_t column = 0; column < padded; column += 2 * kFloats, block += uint64_t(kDoubles)) {
        const Words<V::W> w = row_words<V>(seed, row, block);
        // words 0 and 2 of each block side by side, and 1 and 3: what Box-Muller pairs
        const V::W low = V::splat(uint64_t(0xFFFFFFFFu));
        const V::U radius = V::U((w.w0 & low) | (w.w2 << 32)), angle = V::U((w.w1 & low) | (w.w3 << 32));
        V::F first, second, columns[2];
        box_muller<V>(radius, angle, &first, &second);
        interleave(first, second, &columns[0], &columns[1]);
        memcpy(out + column, columns, sizeof columns);
    }
}

#else

void row_normals(float* out, int64_t padded, uint64_t seed, uint64_t row) {
    for (int64_t column = 0; column < padded; column += 4) {
        const Words<uint64_t> w = row_words<Scalar>(seed, row, uint64_t(column / 4));
        box_muller<Scalar>(uint32_t(w.w0), uint32_t(w.w1), out + column, out + column + 1);
        box_muller<Scalar>(uint32_t(w.w2), uint32_t(w.w3), out + column + 2, out + column + 3);
    }
}

#endif

// Room for one row, zero beyond n_dims, which is exact in every sum. Not std::vector: its members would be shared
// symbols compiled with this file's instruction set, and the linker might hand them to the portable build.
template <typename T>
class Buffer {
  public:
    explicit Buffer(int64_t n_dims) : padded(padded_to_slots(n_dims)) {
        row = static_cast<T*>(operator new[](size_t(padded) * sizeof(T), kAlignment));
        memset(row, 0, size_t(padded) * sizeof(T));
    }
    ~Buffer() { operator delete[](row, kAlignment); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    const int64_t padded;
    T* row;

  private:
    static constexpr std::align_val_t kAlignment{64};
};

template <typename Stored, typename T>
void transform_rows(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status) {
    const Buffer<T> buffer(in.n_dims);
    const Buffer<float> normals(map.sigma != 0 ? in.n_dims : 0);
    T* row = buffer.row;
    const T sigma = T(map.sigma);
    for (int64_t i = 0; i < in.n_rows; ++i) {
        load<Stored>(in, i, row);
        double norm;
        const T factor = reciprocal_norm(row, buffer.padded, &norm);
        status[i] = usable_norm(norm) ? kOk : kBadNorm;
        if (status[i] != kOk) {
            store_zeros<Stored>(out, i);
            continue;
        }
        apply_affine(row, factor, map, in.n_dims);
        if (map.sigma != 0) {
            row_normals(normals.row, buffer.padded, map.seed, map.row_offset + uint64_t(i));
            for (int64_t j = 0; j < in.n_dims; ++j) row[j] = multiply_add(T(normals.row[j]), sigma, row[j]);
        }
        T rescale = T(1);
        if (map.renormalize) {
            rescale = reciprocal_norm(row, buffer.padded, &norm);
            if (!usable_norm(norm)) {
                status[i] = kAtMean;
                store_zeros<Stored>(out, i);
                continue;
            }
        }
        store<Stored>(row, rescale, out, i);
    }
}

template <typename Stored, typename T>
void moments_of_rows(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status) {
    const Buffer<T> buffer(in.n_dims);
    T* row = buffer.row;
    for (int64_t i = 0; i < in.n_rows; ++i) {
        load<Stored>(in, i, row);
        const T factor = reciprocal_norm(row, buffer.padded, &norms[i]);
        status[i] = usable_norm(norms[i]) ? kOk : kBadNorm;
        if (status[i] != kOk) continue;
        for (int64_t j = 0; j < in.n_dims; ++j) {
            const double unit = double(row[j] * factor);
            sums[j] += to_fixed(unit);
            squares[j] += to_fixed(unit * unit);
        }
    }
}

void transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status) {
    switch (in.dtype) {
        case Dtype::kFloat32: return transform_rows<float, float>(in, out, map, status);
        case Dtype::kFloat64: return transform_rows<double, double>(in, out, map, status);
        case Dtype::kFloat16: return transform_rows<Half, float>(in, out, map, status);
        case Dtype::kBFloat16: return transform_rows<BFloat16, float>(in, out, map, status);
    }
}

void moments(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status) {
    switch (in.dtype) {
        case Dtype::kFloat32: return moments_of_rows<float, float>(in, sums, squares, norms, status);
        case Dtype::kFloat64: return moments_of_rows<double, double>(in, sums, squares, norms, status);
        case Dtype::kFloat16: return moments_of_rows<Half, float>(in, sums, squares, norms, status);
        case Dtype::kBFloat16: return moments_of_rows<BFloat16, float>(in, sums, squares, norms, status);
    }
}

void normals(float* out, int64_t n_rows, int64_t n_dims, uint64_t seed, uint64_t row_offset) {
    const Buffer<float> buffer(n_dims);
    for (int64_t i = 0; i < n_rows; ++i) {
        row_normals(buffer.row, buffer.padded, seed, row_offset + uint64_t(i));
        memcpy(out + i * n_dims, buffer.row, size_t(n_dims) * sizeof(float));
    }
}

}  // namespace

const Kernels& C3_JOIN(C3ALIGN_ISA, _kernels)() {
    static const Kernels kernels{C3_STRING(C3ALIGN_ISA), transform, moments, normals};
    return kernels;
}

}  // namespace c3align
