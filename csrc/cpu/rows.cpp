// One row at a time: read once into a buffer that stays in L1, normalised, mapped, written once.
// This file is compiled once for each instruction set (C3ALIGN_ISA); the loops are plain, for the compiler to
// vectorise, and every operation is the one that c3align/ops/reference.py names, so all builds agree to the bit.
#include "kernels.h"

#include <new>

#include "../core/fixed_sum.h"
#include "../core/half.h"
#include "../core/normal.h"

#define C3_JOIN_(a, b) a##b
#define C3_JOIN(a, b) C3_JOIN_(a, b)
#define C3_STRING_(a) #a
#define C3_STRING(a) C3_STRING_(a)

namespace c3align {
namespace {

template <typename T>
double sum_of_squares(const T* row, int64_t padded) {
    double slots[kSlots], segment[kSlots];
    for (int64_t first = 0; first < padded; first += kSegment) {
        double* target = first == 0 ? slots : segment;
        const int64_t last = first + kSegment < padded ? first + kSegment : padded;
        for (int j = 0; j < kSlots; ++j) target[j] = double(row[first + j]) * double(row[first + j]);
        for (int64_t step = first + kSlots; step < last; step += kSlots)
            for (int j = 0; j < kSlots; ++j) target[j] += double(row[step + j]) * double(row[step + j]);
        if (first > 0)
            for (int j = 0; j < kSlots; ++j) slots[j] += segment[j];
    }
    return reduce_slots(slots);
}

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

// Normals of one row, a multiple of 4 * kChunk of them. The counters of a chunk run side by side, so that each
// of the ten rounds is a few vector instructions.
constexpr int kChunk = 16;

void row_normals(float* out, int64_t padded, uint64_t seed, uint64_t row) {
    for (int64_t block = 0; 4 * block < padded; block += kChunk) {
        uint32_t words[4][kChunk];
        for (int i = 0; i < kChunk; ++i) {
            const Words w = row_words(seed, row, uint32_t(block + i));
            words[0][i] = w.w0, words[1][i] = w.w1, words[2][i] = w.w2, words[3][i] = w.w3;
        }
        float normals[4][kChunk];
        for (int i = 0; i < kChunk; ++i) {
            const Pair a = box_muller(words[0][i], words[1][i]), b = box_muller(words[2][i], words[3][i]);
            normals[0][i] = a.first, normals[1][i] = a.second, normals[2][i] = b.first, normals[3][i] = b.second;
        }
        for (int i = 0; i < kChunk; ++i)
            for (int w = 0; w < 4; ++w) out[4 * (block + i) + w] = normals[w][i];
    }
}

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
