// A row is read from memory once, stays in L1 while it is normalised, mapped and normalised again, and is written once.
// This file is compiled once for each instruction set (C3ALIGN_ISA). Every operation is the one that
// c3align/ops/reference.py names, so all builds agree to the bit.
#include "kernels.h"

#include "moments.h"
#include "normals.h"
#include "row_memory.h"
#include "row_sums.h"

#define C3_JOIN_(a, b) a##b
#define C3_JOIN(a, b) C3_JOIN_(a, b)
#define C3_STRING_(a) #a
#define C3_STRING(a) C3_STRING_(a)

namespace c3align {
namespace {

// A vector of the map as the columns need it: padded with zeros, and negated for the mean.
template <typename T>
void fill_padded(T* out, const void* vector, int64_t n_dims, bool negate) {
    const T* source = static_cast<const T*>(vector);
    for (int64_t j = 0; j < n_dims; ++j) out[j] = negate ? -source[j] : source[j];
}

// The noise of one row after another, in the type of the rows, zero beyond their columns.
template <typename T>
class NoiseMaker {
    using R = Register<T>;
    using V = typename R::type;

  public:
    NoiseMaker(const Noise& noise, int64_t n_dims, int64_t padded)
        : noise_(noise), n_dims_(n_dims), padded_(padded), normals_(noise.sigma != 0 ? padded : 0),
          e_(noise.sigma != 0 ? padded : 0), columns_(noise.columns ? padded : 0),
          direction_(noise.direction ? padded : 0) {
        if (noise.columns) fill_padded(columns_.data, noise.columns, n_dims, false);
        if (noise.direction) fill_padded(direction_.data, noise.direction, n_dims, false);
    }

    // What is added to the row is `*amount` times what is returned.
    const T* draw(int64_t index, T* amount) {
        const uint64_t row = noise_.row_offset + uint64_t(index);
        row_normals(normals_.data, padded_, noise_.seed, row);
        for (int64_t j = n_dims_; j < padded_; ++j) normals_.data[j] = 0;
        T* e = e_.data;
        if (std::is_same<T, float>::value) e = reinterpret_cast<T*>(normals_.data);
        else for (int64_t j = 0; j < padded_; ++j) e[j] = T(normals_.data[j]);
        *amount = noise_.shaped() ? shape(e, row) : T(noise_.sigma);
        return e;
    }

  private:
    T shape(T* e, uint64_t row) const {
        if (noise_.columns)
            for (int64_t j = 0; j < padded_; ++j) e[j] = e[j] * columns_.data[j];
        if (noise_.direction) {
            const T* v = direction_.data;
            const double sum = tree_sum_of_products<T>(padded_, [=](int64_t j, Doubles* a, Doubles* b) {
                R::load_wide(e + j, a);
                R::load_wide(v + j, b);
            });
            const V along = V{} + T(-sum);
            for (int64_t j = 0; j < padded_; j += R::lanes) {
                const V value = R::multiply_add(along, R::load(v + j), R::load(e + j));
                store(e + j, value);
            }
        }
        double amount = noise_.sigma;
        if (noise_.radius != 0) {
            const double norm = std::sqrt(row_sum_of_squares<T>(padded_, e));
            amount = norm > 0 ? noise_.radius / norm : 0;
        }
        return T(noise_.random_strength ? amount * row_uniform(noise_.seed, row) : amount);
    }

    const Noise& noise_;
    const int64_t n_dims_, padded_;
    Buffer<float> normals_;
    Buffer<T> e_, columns_, direction_;
};

// The map of one row in registers: what it makes of columns j, j + 1, ... it stores and returns for the next norm.
template <typename T>
class Mapper {
  public:
    Mapper(const RowMap& map, int64_t n_dims, int64_t padded)
        : map_(map), padded_(padded), vectors_(3 * padded), row_(padded), noise_(map.noise, n_dims, padded) {
        // no mean is a mean of zero; its negative, -0, leaves every product as it is
        if (map.mean) fill_padded(negative_mean(), map.mean, n_dims, true);
        else for (int64_t j = 0; j < padded; ++j) negative_mean()[j] = T(-0.0);
        if (map.scale) fill_padded(scale(), map.scale, n_dims, false);
        if (map.shift) fill_padded(shift(), map.shift, n_dims, false);
        simple_ = !map.scale && !map.shift;
    }

    // Fills row() from x * factor; returns the sum of squares of the result where it is to be renormalised, else 1.
    // Meanwhile what lies `ahead` is asked for.
    double apply(const T* x, T factor, int64_t index, const T* ahead) {
        using R = Register<T>;
        using V = typename R::type;
        const V p = V{} + factor;
        T* row = row_.data;
        const T* mean = negative_mean();
        const bool noisy = map_.noise.sigma != 0;
        if (simple_ && !noisy)
            return squares_of([=](int64_t j) {
                prefetch(ahead + j);
                const V value = R::multiply_add(R::load(x + j), p, R::load(mean + j));
                store(row + j, value);
                return value;
            });
        T strength = 0;
        const T* e = noisy ? noise_.draw(index, &strength) : nullptr;
        const V amount = V{} + strength;
        if (simple_)
            return squares_of([=](int64_t j) {
                prefetch(ahead + j);
                const V centred = R::multiply_add(R::load(x + j), p, R::load(mean + j));
                const V value = R::multiply_add(R::load(e + j), amount, centred);
                store(row + j, value);
                return value;
            });
        const bool has_scale = map_.scale, has_shift = map_.shift;
        const T *scales = scale(), *shifts = shift();
        return squares_of([=](int64_t j) {
            prefetch(ahead + j);
            V value = R::multiply_add(R::load(x + j), p, R::load(mean + j));
            if (has_scale && has_shift) value = R::multiply_add(value, R::load(scales + j), R::load(shifts + j));
            else if (has_scale) value = value * R::load(scales + j);
            else if (has_shift) value = value + R::load(shifts + j);
            if (noisy) value = R::multiply_add(R::load(e + j), amount, value);
            store(row + j, value);
            return value;
        });
    }

    const T* row() const { return row_.data; }

  private:
    // `column(j)` fills the row from column j on.
    template <typename Column>
    C3_HD double squares_of(Column column) const {
        if (map_.renormalize) return tree_sum_of_squares<T>(padded_, column);
        for (int64_t j = 0; j < padded_; j += Register<T>::lanes) column(j);
        return 1;
    }

    T* negative_mean() const { return vectors_.data; }
    T* scale() const { return vectors_.data + padded_; }
    T* shift() const { return vectors_.data + 2 * padded_; }

    const RowMap& map_;
    const int64_t padded_;
    Buffer<T> vectors_, row_;
    NoiseMaker<T> noise_;
    bool simple_;
};

template <typename Stored, typename T>
void transform_rows(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, int64_t first, int64_t last) {
    const Reader<Stored, T> reader(in);
    const Writer<Stored, T> writer(out, map.stream);
    Mapper<T> mapper(map, in.n_dims, reader.padded);
    constexpr int64_t kAhead = 8192 / sizeof(T);
    const T* x = nullptr;
    double norm = 0;
    T factor = T(0);
    const auto measure = [&](int64_t i) {
        x = reader.row(i);
        factor = reciprocal_norm<T>(row_sum_of_squares<T>(reader.padded, x), &norm);
        status[i] = usable_norm(norm) ? kOk : kBadNorm;
    };
    if (first < last) measure(first);
    for (int64_t i = first; i < last; ++i) {
        double squares = 0;
        if (status[i] == kOk) squares = mapper.apply(x, factor, i, reader.in_place() ? x + kAhead : x);
        // the next row's norm fills the wait for the end of this one's tree, root and quotient
        if (i + 1 < last) measure(i + 1);
        T rescale = T(1);
        if (status[i] == kOk) {
            double mapped = 1;
            if (map.renormalize) rescale = reciprocal_norm<T>(squares, &mapped);
            if (!usable_norm(mapped)) status[i] = kAtMean;
        }
        if (status[i] == kOk)
            writer.write(mapper.row(), rescale, i);
        else
            writer.write_zeros(i);
    }
}

void transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, int64_t first, int64_t last) {
    switch (in.dtype) {
        case Dtype::kFloat32: return transform_rows<float, float>(in, out, map, status, first, last);
        case Dtype::kFloat64: return transform_rows<double, double>(in, out, map, status, first, last);
        case Dtype::kFloat16: return transform_rows<Half, float>(in, out, map, status, first, last);
        case Dtype::kBFloat16: return transform_rows<BFloat16, float>(in, out, map, status, first, last);
    }
}

void moments(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status, int64_t first,
             int64_t last) {
    switch (in.dtype) {
        case Dtype::kFloat32: return moments_of_rows<float, float>(in, sums, squares, norms, status, first, last);
        case Dtype::kFloat64: return moments_of_rows<double, double>(in, sums, squares, norms, status, first, last);
        case Dtype::kFloat16: return moments_of_rows<Half, float>(in, sums, squares, norms, status, first, last);
        case Dtype::kBFloat16: return moments_of_rows<BFloat16, float>(in, sums, squares, norms, status, first, last);
    }
}

void normals(float* out, int64_t n_dims, uint64_t seed, uint64_t row_offset, int64_t first, int64_t last) {
    const int64_t padded = padded_to_slots(n_dims);
    const Buffer<float> row(padded);
    for (int64_t i = first; i < last; ++i) {
        row_normals(row.data, padded, seed, row_offset + uint64_t(i));
        memcpy(out + i * n_dims, row.data, size_t(n_dims) * sizeof(float));
    }
}

void copy(void* target, const void* source, size_t n_bytes) {
    stream_copy(target, source, n_bytes);
    finish_streams();
}

}  // namespace

const Kernels& C3_JOIN(C3ALIGN_ISA, _kernels)() {
    static const Kernels kernels{C3_STRING(C3ALIGN_ISA), transform, moments, normals, copy};
    return kernels;
}

}  // namespace c3align
