// A row is read from memory once, stays in L1 while it is normalised, mapped and normalised again, and is written once.
// This file is compiled once for each instruction set (C3ALIGN_ISA). Every operation is the one that
// c3align/ops/reference.py names, so all builds agree to the bit.
#include "kernels.h"

#include <new>
#include <type_traits>

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

// Memory of this file's own making. Not std::vector: its members would be shared symbols compiled with this file's
// instruction set, and the linker might hand them to the portable build.
template <typename T>
class Buffer {
  public:
    explicit Buffer(int64_t size) : data(static_cast<T*>(operator new[](size_t(size) * sizeof(T), kAlignment))) {
        memset(static_cast<void*>(data), 0, size_t(size) * sizeof(T));
    }
    ~Buffer() { operator delete[](static_cast<void*>(data), kAlignment); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    T* const data;

  private:
    static constexpr std::align_val_t kAlignment{64};
};

// What lies there is wanted soon; any address will do.
inline void prefetch(const void* address) {
#if defined(__GNUC__)
    __builtin_prefetch(address);
#else
    (void)address;
#endif
}

// Sums along the tree of `core/row.h`. The slots that fit in registers go down a segment together, then the next
// ones; the row lies in L1 after the first time. `factors(j, a, b)` sets what is multiplied for columns j, j + 1, ...
template <typename T, typename Factors>
C3_HD double tree_sum_of_products(int64_t padded, Factors factors) {
    using R = Register<T>;
    constexpr int kAtOnce = kDoubles == 8 ? 16 : kDoubles == 1 ? kSlots : 8, kPass = kAtOnce * kDoubles;
    alignas(64) double slots[kSlots];
    for (int64_t first = 0; first < padded; first += kSegment) {
        const int64_t last = first + kSegment < padded ? first + kSegment : padded;
        for (int pass = 0; pass < kSlots; pass += kPass) {
            Doubles segment[kAtOnce] = {};
            for (int64_t step = first + pass; step < last; step += kSlots) {
                for (int k = 0; k < kAtOnce; k += R::halves) {
                    Doubles a[R::halves], b[R::halves];
                    factors(step + k * kDoubles, a, b);
                    for (int h = 0; h < R::halves; ++h) segment[k + h] = R::add_product(a[h], b[h], segment[k + h]);
                }
            }
            if (first > 0) {
                Doubles before[kAtOnce];
                memcpy(before, slots + pass, sizeof before);
                for (int k = 0; k < kAtOnce; ++k) segment[k] = before[k] + segment[k];
            }
            memcpy(slots + pass, segment, sizeof segment);
        }
    }
    return reduce_registers(slots);
}

// The squares of a row in memory. Meanwhile every other register of a row `ahead`, if there is one, is asked for.
template <typename T>
C3_HD double row_sum_of_squares(int64_t padded, const T* row, const T* ahead = nullptr) {
    return tree_sum_of_products<T>(padded, [=](int64_t j, Doubles* a, Doubles* b) {
        if (ahead && !(j & Register<T>::lanes)) prefetch(ahead + j);
        Register<T>::load_wide(row + j, a);
        for (int h = 0; h < Register<T>::halves; ++h) b[h] = a[h];
    });
}

// The squares of what `column(j)` makes of columns j, j + 1, ...
template <typename T, typename Column>
C3_HD double tree_sum_of_squares(int64_t padded, Column column) {
    return tree_sum_of_products<T>(padded, [=](int64_t j, Doubles* a, Doubles* b) {
        Register<T>::widen(column(j), a);
        for (int h = 0; h < Register<T>::halves; ++h) b[h] = a[h];
    });
}

// The factor that brings a row with this sum of squares to norm 1, in the row's own type; 0 when unusable.
template <typename T>
T reciprocal_norm(double sum_of_squares, double* norm) {
    *norm = std::sqrt(sum_of_squares);
    return usable_norm(*norm) ? T(1.0 / *norm) : T(0);
}

// Rows in the type they are computed in, zero beyond n_dims, which is exact in every sum. Rows that are stored that
// way already are read where they are.
template <typename Stored, typename T>
class Reader {
  public:
    explicit Reader(const Rows& rows)
        : rows_(rows), padded(padded_to_slots(rows.n_dims)), buffer_(padded) {}

    const T* row(int64_t index) const {
        const Stored* source = static_cast<const Stored*>(rows_.data) + index * rows_.row_stride;
        if (rows_.column_stride != 1) {
            for (int64_t j = 0; j < rows_.n_dims; ++j) buffer_.data[j] = widen(source[j * rows_.column_stride]);
            return buffer_.data;
        }
        if (in_place()) return reinterpret_cast<const T*>(source);
        for (int64_t j = 0; j < rows_.n_dims; ++j) buffer_.data[j] = widen(source[j]);
        return buffer_.data;
    }

    bool in_place() const {
        return sizeof(Stored) == sizeof(T) && padded == rows_.n_dims && rows_.column_stride == 1;
    }

  private:
    const Rows& rows_;

  public:
    const int64_t padded;

  private:
    Buffer<T> buffer_;
};

template <typename Stored, typename T>
class Writer {
  public:
    Writer(const Rows& rows, bool stream) : rows_(rows), stream_(stream), scratch_(rows.n_dims) {}
    ~Writer() {
        if (stream_) finish_streams();
    }

    void write(const T* row, T factor, int64_t index) const {
        Stored* target = at(index);
        const bool apart = rows_.column_stride != 1;
        if (stream_ && !apart && std::is_same<Stored, float>::value)
            return stream_scaled(reinterpret_cast<float*>(target), reinterpret_cast<const float*>(row), float(factor),
                                 rows_.n_dims);
        Stored* out = stream_ || apart ? scratch_.data : target;
        for (int64_t j = 0; j < rows_.n_dims; ++j) narrow(row[j] * factor, out[j]);
        if (apart)
            for (int64_t j = 0; j < rows_.n_dims; ++j) target[j * rows_.column_stride] = out[j];
        else if (stream_)
            stream_copy(target, out, size_t(rows_.n_dims) * sizeof(Stored));
    }

    void write_zeros(int64_t index) const {
        Stored* target = at(index);
        for (int64_t j = 0; j < rows_.n_dims; ++j) target[j * rows_.column_stride] = Stored{};
    }

  private:
    Stored* at(int64_t index) const { return static_cast<Stored*>(rows_.data) + index * rows_.row_stride; }

    const Rows& rows_;
    const bool stream_;
    Buffer<Stored> scratch_;
};

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
                memcpy(e + j, &value, sizeof value);
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

    // Fills row() from x * factor; returns the sum of squares of the result. Meanwhile a row `ahead` is asked for.
    double apply(const T* x, T factor, int64_t index, const T* ahead) {
        using R = Register<T>;
        using V = typename R::type;
        const V p = V{} + factor;
        T* row = row_.data;
        const T* mean = negative_mean();
        const bool noisy = map_.noise.sigma != 0;
        if (simple_ && !noisy)
            return tree_sum_of_squares<T>(padded_, [=](int64_t j) {
                prefetch(ahead + j);
                const V value = R::multiply_add(R::load(x + j), p, R::load(mean + j));
                memcpy(row + j, &value, sizeof value);
                return value;
            });
        T strength = 0;
        const T* e = noisy ? noise_.draw(index, &strength) : nullptr;
        const V amount = V{} + strength;
        if (simple_)
            return tree_sum_of_squares<T>(padded_, [=](int64_t j) {
                prefetch(ahead + j);
                const V centred = R::multiply_add(R::load(x + j), p, R::load(mean + j));
                const V value = R::multiply_add(R::load(e + j), amount, centred);
                memcpy(row + j, &value, sizeof value);
                return value;
            });
        const bool has_scale = map_.scale, has_shift = map_.shift;
        const T *scales = scale(), *shifts = shift();
        return tree_sum_of_squares<T>(padded_, [=](int64_t j) {
            prefetch(ahead + j);
            V value = R::multiply_add(R::load(x + j), p, R::load(mean + j));
            if (has_scale && has_shift) value = R::multiply_add(value, R::load(scales + j), R::load(shifts + j));
            else if (has_scale) value = value * R::load(scales + j);
            else if (has_shift) value = value + R::load(shifts + j);
            if (noisy) value = R::multiply_add(R::load(e + j), amount, value);
            memcpy(row + j, &value, sizeof value);
            return value;
        });
    }

    const T* row() const { return row_.data; }

  private:
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
        if (status[i] == kOk) squares = mapper.apply(x, factor, i, reader.in_place() ? x + 2 * in.row_stride : x);
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

// Unit entries and their squares in fixed point. `to_fixed` would take the wrapping off one by one; here it is taken
// off the sum, modulo 2^64. The square of a float is exact in doubles, so it too is rounded once, to 2^-40.
C3_HD void add_fixed(Vector::F unit, Longs* sums, Longs* squares) {
    Doubles wide[kHalves];
    widen_register(unit, wide);
    for (int h = 0; h < kHalves; ++h) {
        sums[h] += bit_cast<Longs>(wide[h] + kWrap);
        squares[h] += bit_cast<Longs>(fma_doubles(wide[h], wide[h], Doubles{} + kWrap));
    }
}

C3_HD void add_fixed(Doubles unit, Longs* sums, Longs* squares) {
    *sums += bit_cast<Longs>(unit + kWrap);
    *squares += bit_cast<Longs>(unit * unit + kWrap);
}

// Some rows at a time, so that sums stay in registers while the rows' columns pass by.
template <typename Stored, typename T>
void moments_of_rows(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status, int64_t first,
                     int64_t last) {
    using R = Register<T>;
    constexpr int kRows = 8;  // fewer than the ways of L1: rows of 1024 floats all map to one set
    const Reader<Stored, T> reader(in);
    const int64_t padded = reader.padded;
    const bool in_place = reader.in_place();
    const Buffer<T> block(in_place ? 0 : kRows * padded);
    const T* kept[kRows];
    Buffer<int64_t> totals(2 * padded);
    T factors[kRows];
    // the next rows come from memory evenly, half of each while these are measured and half while they are summed
    const int64_t ahead = kRows * in.row_stride;
    for (int64_t start = first; start < last; start += kRows) {
        int n_kept = 0;
        const int64_t stop = start + kRows < last ? start + kRows : last;
        for (int64_t i = start; i < stop; ++i) {
            const T* x = reader.row(i);
            const double sum_of_squares = row_sum_of_squares<T>(padded, x, in_place ? x + ahead : nullptr);
            const T factor = reciprocal_norm<T>(sum_of_squares, &norms[i]);
            status[i] = usable_norm(norms[i]) ? kOk : kBadNorm;
            if (status[i] != kOk) continue;
            kept[n_kept] = x;
            if (!in_place) {  // the reader's one buffer takes the next row
                kept[n_kept] = block.data + n_kept * padded;
                memcpy(block.data + n_kept * padded, x, size_t(padded) * sizeof(T));
            }
            factors[n_kept++] = factor;
        }
        const int64_t wrapped = int64_t(n_kept) * bit_cast<int64_t>(kWrap);
        for (int64_t j = 0; j < padded; j += R::lanes) {
            Longs sum[R::halves] = {}, square[R::halves] = {};
            for (int r = 0; r < n_kept; ++r) {
                if (in_place && (j & R::lanes)) prefetch(kept[r] + ahead + j);
                add_fixed(R::load(kept[r] + j) * factors[r], sum, square);
            }
            for (int h = 0; h < R::halves; ++h) {
                const int64_t at = j + h * kDoubles;
                Longs total;
                memcpy(&total, totals.data + at, sizeof total);
                total += sum[h] - wrapped;
                memcpy(totals.data + at, &total, sizeof total);
                memcpy(&total, totals.data + padded + at, sizeof total);
                total += square[h] - wrapped;
                memcpy(totals.data + padded + at, &total, sizeof total);
            }
        }
    }
    for (int64_t j = 0; j < in.n_dims; ++j) {
        sums[j] += totals.data[j];
        squares[j] += totals.data[padded + j];
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
