// A row is read from memory once, stays in L1 while it is normalised, mapped and normalised again, and is written once.
// This file is compiled once for each instruction set (C3ALIGN_ISA). Every operation is the one that
// c3align/ops/reference.py names, so all builds agree to the bit.
#include <algorithm>
#include <cmath>

#include "kernels.h"

#include "moments.h"
#include "noise.h"
#include "load_store.h"
#include "reduce.h"

#define C3_JOIN_(a, b) a##b
#define C3_JOIN(a, b) C3_JOIN_(a, b)
#define C3_STRING_(a) #a
#define C3_STRING(a) C3_STRING_(a)

namespace c3align {
namespace {

// A vector of the map as the columns need it: padded with zeros, and negated for the mean.
template <typename T>
void fill_padded(T* out, const void* vector, int64_t n_dims, int64_t padded, bool negate) {
    const T* source = static_cast<const T*>(vector);
    for (int64_t j = 0; j < n_dims; ++j) out[j] = negate ? -source[j] : source[j];
    for (int64_t j = n_dims; j < padded; ++j) out[j] = 0;
}

// The noise of one row after another, in the type of the rows, zero beyond their columns.
template <typename T>
class NoiseMaker {
    using R = Register<T>;
    using V = typename R::type;

  public:
    static constexpr int kArrays = 4;

    NoiseMaker(const Noise& noise, int64_t n_dims, int64_t padded, Scratch& scratch)
        : noise_(noise), n_dims_(n_dims), padded_(padded), normals_(scratch.take<float>(padded)),
          e_(scratch.take<T>(padded)), columns_(scratch.take<T>(padded)), direction_(scratch.take<T>(padded)) {
        if (noise.columns) fill_padded(columns_, noise.columns, n_dims, padded, false);
        if (noise.direction) fill_padded(direction_, noise.direction, n_dims, padded, false);
    }

    // What is added to the row is `*amount` times what is returned.
    const T* draw(int64_t index, T* amount) {
        const uint64_t row = noise_.number(index);
        row_normals(normals_, padded_, noise_.seed, row);
        for (int64_t j = n_dims_; j < padded_; ++j) normals_[j] = 0;
        T* e = e_;
        if (std::is_same<T, float>::value) e = reinterpret_cast<T*>(normals_);
        else for (int64_t j = 0; j < padded_; ++j) e[j] = T(normals_[j]);
        *amount = noise_.shaped() ? shape(e, row) : T(noise_.sigma);
        return e;
    }

  private:
    T shape(T* e, uint64_t row) const {
        if (noise_.columns)
            for (int64_t j = 0; j < padded_; ++j) e[j] = e[j] * columns_[j];
        if (noise_.direction) {
            const T* v = direction_;
            const V along = V{} + T(-sum_of_products(padded_, e, v));
            for (int64_t j = 0; j < padded_; j += R::lanes) {
                const V value = R::multiply_add(along, load(v + j), load(e + j));
                store(e + j, value);
            }
        }
        double amount = noise_.sigma;
        if (noise_.radius != 0) {
            const double norm = std::sqrt(sum_of_squares(padded_, e));
            amount = norm > 0 ? noise_.radius / norm : 0;
        }
        return T(noise_.random_strength ? amount * row_uniform(noise_.seed, row) : amount);
    }

    const Noise& noise_;
    const int64_t n_dims_, padded_;
    float* const normals_;
    T *const e_, *const columns_, *const direction_;
};

// The map of one row after another.
template <typename T>
class Mapper {
    using R = Register<T>;
    using V = typename R::type;

  public:
    static constexpr int kArrays = 4 + NoiseMaker<T>::kArrays, kPlaced = 1;

    // The mean is half a page from where `MappedRows` has the first row.
    Mapper(const RowMap& map, int64_t n_dims, int64_t padded, const T* x, const void* out, Scratch& scratch)
        : map_(map), padded_(padded), negative_mean_(scratch.take<T>(padded, x, page_distance(x, out) / 2)),
          scale_(scratch.take<T>(padded)), shift_(scratch.take<T>(padded)), goal_(scratch.take<T>(padded)),
          noise_(map.noise, n_dims, padded, scratch) {
        // no mean is a mean of zero; its negative, -0, leaves every product as it is
        if (map.mean) fill_padded(negative_mean_, map.mean, n_dims, padded, true);
        else for (int64_t j = 0; j < padded; ++j) negative_mean_[j] = T(-0.0);
        if (map.scale) fill_padded(scale_, map.scale, n_dims, padded, false);
        if (map.shift) fill_padded(shift_, map.shift, n_dims, padded, false);
        if (!map.goal) return;
        fill_padded(goal_, map.goal, n_dims, padded, false);
        inside_ = 1 - sum_of_squares(padded, goal_);
    }

    // Whether a row is at the mean, where what is measured at the end is no longer the centred row. `row` is written.
    bool is_at_mean(const T* x, T factor, T* row) const {
        if (map_.at_mean == 0 || !(map_.scale || map_.noise.sigma != 0) || is_far(x, factor)) return false;
        const V p = V{} + factor;
        const T* mean = negative_mean_;
        each_column([=](int64_t j) { store(row + j, R::multiply_add(load(x + j), p, load(mean + j))); });
        return std::sqrt(sum_of_squares(padded_, row)) <= map_.at_mean;
    }

    // Fills `row` from x * factor. Meanwhile what lies `ahead` is asked for.
    void apply(const T* x, T factor, int64_t index, const T* ahead, T* row) {
        const V p = V{} + factor;
        const T* mean = negative_mean_;
        const auto centred = [=](int64_t j) {
            prefetch(ahead + j);
            return R::multiply_add(load(x + j), p, load(mean + j));
        };
        const bool noisy = map_.noise.sigma != 0, has_scale = map_.scale, has_shift = map_.shift;
        const bool simple = !has_scale && !has_shift;
        if (simple && !noisy) return each_column([=](int64_t j) { store(row + j, centred(j)); });
        T strength = 0;
        const T* e = noisy ? noise_.draw(index, &strength) : nullptr;
        const V amount = V{} + strength;
        if (simple)
            return each_column([=](int64_t j) {
                store(row + j, R::multiply_add(load(e + j), amount, centred(j)));
            });
        const T *scales = scale_, *shifts = shift_;
        each_column([=](int64_t j) {
            V value = centred(j);
            if (has_scale && has_shift) value = R::multiply_add(value, load(scales + j), load(shifts + j));
            else if (has_scale) value = value * load(scales + j);
            else if (has_shift) value = value + load(shifts + j);
            if (noisy) value = R::multiply_add(load(e + j), amount, value);
            store(row + j, value);
        });
    }

    // What follows on row * factor: from the sphere to around the goal. Returns what the row is still to be scaled by.
    T finish(T factor, T* row) const {
        if (!map_.goal && map_.norm == 1) return factor;
        const V p = V{} + factor;
        each_column([=](int64_t j) { store(row + j, load(row + j) * p); });
        if (map_.goal) {
            const T* goal = goal_;
            const double along = sum_of_products(padded_, row, goal);
            const V step = V{} + T(std::sqrt(std::max(0.0, along * along + inside_)) - along);
            each_column([=](int64_t j) { store(row + j, R::multiply_add(step, load(row + j), load(goal + j))); });
        }
        return T(map_.norm);
    }

  private:
    template <typename Column>
    C3_HD void each_column(Column column) const {
        for (int64_t j = 0; j < padded_; j += R::lanes) column(j);
    }

    // Whether one entry alone makes the norm larger: as a rule the first one does.
    bool is_far(const T* x, T factor) const {
        for (int64_t j = 0; j < padded_; j += R::lanes) {
            T entries[R::lanes];
            store(entries, R::multiply_add(load(x + j), V{} + factor, load(negative_mean_ + j)));
            for (const T entry : entries)
                if (std::fabs(double(entry)) > map_.at_mean) return true;
        }
        return false;
    }

    const RowMap& map_;
    const int64_t padded_;
    T *const negative_mean_, *const scale_, *const shift_, *const goal_;
    double inside_ = 0;  // 1 - ||goal||^2
    NoiseMaker<T> noise_;
};

// Three rows are under way, since each waits twice for the end of a sum, a root and a quotient: while the first is
// measured again and written, the second is mapped and the third is measured.
template <typename Stored, typename T>
void transform_rows(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, int64_t first, int64_t last) {
    using In = Reader<Stored, T, 2>;
    using Out = Writer<Stored, T>;
    constexpr int kArrays = In::kArrays + Out::kArrays + Mapper<T>::kArrays + MappedRows<T>::kArrays;
    constexpr int64_t kRowsAhead = 4;
    if (first >= last) return;
    const int64_t padded = padded_to_slots(in.n_dims);
    Scratch scratch(kArrays * padded * int64_t(sizeof(T)), Mapper<T>::kPlaced + MappedRows<T>::kPlaced);
    const In reader(in, scratch);
    const Out writer(out, map.stream, scratch);
    Mapper<T> mapper(map, in.n_dims, padded, reader.place(first), writer.at(first), scratch);
    const MappedRows<T> mapped(padded, scratch);
    const auto mapped_row = [&](int64_t i) { return mapped.row(i, reader.place(i), writer.at(i)); };
    const double limit = map.scale || map.noise.sigma != 0 ? 0 : map.at_mean;  // of the norms that are measured last
    T factor = T(0);
    const auto measure = [&](int64_t i) { return i < last ? sum_of_squares(padded, reader.row(i)) : 0; };
    const auto norm_of = [&](int64_t i, double sum_of_squares) {
        double norm = 0;
        factor = reciprocal_norm<T>(sum_of_squares, &norm);
        if (map.is_raw) factor = T(1);
        status[i] = usable_norm(norm) ? kOk : kBadNorm;
    };
    const auto map_row = [&](int64_t i) {
        if (i >= last || status[i] != kOk) return;
        const T* x = reader.place(i);
        T* const row = mapped_row(i);
        if (mapper.is_at_mean(x, factor, row)) status[i] = kAtMean;
        else mapper.apply(x, factor, i, reader.in_place() ? x + kRowsAhead * in.row_stride : x, row);
    };
    norm_of(first, measure(first));
    map_row(first);
    if (first + 1 < last) norm_of(first + 1, measure(first + 1));
    for (int64_t i = first; i < last; ++i) {
        const T* row = mapped_row(i);
        const double squares = map.renormalize && status[i] == kOk ? sum_of_squares(padded, row) : 1;
        const double squares_to_come = measure(i + 2);
        map_row(i + 1);
        if (i + 2 < last) norm_of(i + 2, squares_to_come);
        T rescale = T(1);
        if (map.renormalize && status[i] == kOk) {
            double norm = 1;
            rescale = reciprocal_norm<T>(squares, &norm);
            if (!usable_norm(norm) || norm <= limit) status[i] = kAtMean;
        }
        if (!map.writes) continue;
        if (status[i] == kOk)
            writer.write(row, mapper.finish(rescale, mapped_row(i)), i);
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

// Calls `use` with the type of measured rows of this dtype.
template <int kAsked, typename Use>
void with_measured(Dtype dtype, Use use) {
    switch (dtype) {
        case Dtype::kFloat32: return use(TypeOf<MeasuredRows<float, float, kAsked>>{});
        case Dtype::kFloat64: return use(TypeOf<MeasuredRows<double, double, kAsked>>{});
        case Dtype::kFloat16: return use(TypeOf<MeasuredRows<Half, float, kAsked>>{});
        case Dtype::kBFloat16: return use(TypeOf<MeasuredRows<BFloat16, float, kAsked>>{});
    }
}

void moments(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status, int64_t first,
             int64_t last) {
    const Moments found{sums, squares, norms, status};
    with_measured<kRowsOfSums>(
        in.dtype, [&](auto x) { moments_of_rows<typename decltype(x)::type>(in, found, first, last); });
}

void pair_moments(const Rows& x, const Rows& y, const Moments& of_x, const Moments& of_y, int64_t* sums,
                  int64_t* squares, int64_t first, int64_t last) {
    with_measured<kRowsAsked>(x.dtype, [&](auto a) {
        with_measured<kRowsAsked>(y.dtype, [&](auto b) {
            moments_of_pairs<typename decltype(a)::type, typename decltype(b)::type>(x, y, of_x, of_y, sums, squares,
                                                                                    first, last);
        });
    });
}

void normals(float* out, int64_t n_dims, uint64_t seed, uint64_t row_offset, const uint64_t* row_ids, int64_t first,
             int64_t last) {
    const int64_t padded = padded_to_slots(n_dims);
    Scratch scratch(padded * int64_t(sizeof(float)), 0);
    float* const row = scratch.take<float>(padded);
    for (int64_t i = first; i < last; ++i) {
        row_normals(row, padded, seed, row_ids ? row_ids[i] : row_offset + uint64_t(i));
        memcpy(out + i * n_dims, row, size_t(n_dims) * sizeof(float));
    }
}

void copy(void* target, const void* source, size_t n_bytes) {
    stream_copy(target, source, n_bytes);
    finish_streams();
}

}  // namespace

const Kernels& C3_JOIN(C3ALIGN_ISA, _kernels)() {
    static const Kernels kernels{C3_STRING(C3ALIGN_ISA), transform, moments, pair_moments, normals,
                                copy};
    return kernels;
}

}  // namespace c3align
