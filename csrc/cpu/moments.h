// Exact sums of unit rows and of their squares, in the fixed point of core/fixed_sum.h.
#pragma once

#include "../core/fixed_sum.h"
#include "load_store.h"
#include "reduce.h"

namespace c3align {
namespace {

constexpr int64_t kBytesPerColumn = 16;  // of totals

// Sums over a block of rows of one register of columns, and the totals of all columns that they go to: unsigned, for
// they overflow as they like.
template <typename T>
class FixedTotals {
  public:
    static constexpr int64_t kRowsToSettle = kMaxRowsPerBlock;

    FixedTotals(int64_t padded, void* memory) : padded_(padded), totals_(static_cast<uint64_t*>(memory)) { clear(); }

    struct Block {
        Longs sums = {}, squares = {};

        // The square of a float is exact in doubles, so that it too is rounded once, to 2^-40.
        C3_HD void add(Doubles unit) {
            sums += bit_cast<Longs>(unit + kWrap);
            squares += bit_cast<Longs>(unit * unit + kWrap);
        }
    };

    C3_HD void add(const Block& block, int64_t column, int n_rows) {
        const uint64_t wrapped = uint64_t(n_rows) * bit_cast<uint64_t>(kWrap);
        increase(totals_ + column, block.sums - wrapped);
        increase(totals_ + padded_ + column, block.squares - wrapped);
    }

    void settle(int64_t n_dims, int64_t* sums, int64_t* squares) {
        for (int64_t j = 0; j < n_dims; ++j) {
            sums[j] += int64_t(totals_[j]);
            squares[j] += int64_t(totals_[padded_ + j]);
        }
        clear();
    }

  private:
    void clear() { memset(totals_, 0, kBytesPerColumn * padded_); }

    const int64_t padded_;
    uint64_t* const totals_;
};

#if defined(C3ALIGN_SIMD)

// Floats need no doubles: what rounding to 2^-18 takes is rounded to 2^-40 with what it leaves, in two integers of
// 32 bits for each sum. The square too is rounded once in each, by fma, and leaves an exact rest in between.
template <>
class FixedTotals<float> {
    using V = Vector;

  public:
    static constexpr int64_t kRowsToSettle = 512;  // of which the rests, below 2^21 each, fill 30 bits

    FixedTotals(int64_t padded, void* memory) : padded_(padded), totals_(static_cast<uint32_t*>(memory)) { clear(); }

    struct Block {
        V::U coarse[2] = {}, fine[2] = {};

        C3_HD void add(V::F unit) {
            const V::F sum = kCoarse - unit, square = V::fma(-unit, unit, V::splat(kCoarse));
            coarse[0] += V::U(sum);
            coarse[1] += V::U(square);
            fine[0] += V::U(unit + (sum - (kCoarse - kFine)));
            fine[1] += V::U(V::fma(unit, unit, square - (kCoarse - kFine)));
        }
    };

    C3_HD void add(const Block& block, int64_t column, int n_rows) {
        const uint32_t wrapped = uint32_t(n_rows) * bit_cast<uint32_t>(kCoarse);
        const uint32_t rest_wrapped = uint32_t(n_rows) * bit_cast<uint32_t>(kFine);
        for (int k = 0; k < 2; ++k) {
            increase(totals_ + 2 * k * padded_ + column, wrapped - block.coarse[k]);
            increase(totals_ + (2 * k + 1) * padded_ + column, block.fine[k] - rest_wrapped);
        }
    }

    void settle(int64_t n_dims, int64_t* sums, int64_t* squares) {
        const uint32_t* t = totals_;
        for (int64_t j = 0; j < n_dims; ++j) {
            sums[j] += int64_t(int32_t(t[j])) * kFinePerCoarse + int32_t(t[padded_ + j]);
            squares[j] += int64_t(int32_t(t[2 * padded_ + j])) * kFinePerCoarse + int32_t(t[3 * padded_ + j]);
        }
        clear();
    }

  private:
    // around them the last bit of a float is worth 2^-18, and 2^-40; their difference is a float too
    static constexpr float kCoarse = 48, kFine = 0x1.8p-17f;
    static constexpr int64_t kFinePerCoarse = int64_t{1} << 22;

    void clear() { memset(totals_, 0, kBytesPerColumn * padded_); }

    const int64_t padded_;
    uint32_t* const totals_;
};

#endif

// Memory for totals, as far as can be from the places of rows `stride` bytes apart in their pages.
inline void* place_between_rows(const void* row, int64_t stride, int64_t padded, Scratch& scratch) {
    const int64_t apart = stride % kPage ? stride & -stride : kPage;
    return scratch.take<char>(kBytesPerColumn * padded, row, apart / 2);
}

constexpr int kRowsAsked = 4;   // of pairs, on each side, while it is measured
constexpr int kRowsOfSums = 8;  // fewer than the ways of L1: rows of 1024 floats all map to one set

// Rows that lie `ahead` of others, asked for in the order of memory, which serves it faster than column by column.
template <typename T>
class RowsAhead {
  public:
    C3_HD RowsAhead(const T* const* rows, int64_t ahead, int64_t padded)
        : row_(rows), ahead_(ahead), padded_(padded) {}

    template <int64_t kElements>
    C3_HD void ask() {
        C3_UNROLL
        for (int64_t k = 0; k < kElements; k += kLine / int64_t(sizeof(T))) prefetch(*row_ + ahead_ + column_ + k);
        column_ += kElements;
        if (column_ < padded_) return;
        column_ = 0;
        ++row_;
    }

  private:
    const T* const* row_;
    const int64_t ahead_, padded_;
    int64_t column_ = 0;
};

// Adds rows times their factors, a register of columns of all rows at a time, so that sums stay in registers. Meanwhile
// the rows that lie `ahead` of the first `kAsked` are asked for.
template <int kRows, int kAsked, typename T>
C3_HD void add_rows(FixedTotals<T>& totals, const T* const* rows, const T* factors, int64_t padded, int64_t ahead) {
    constexpr int64_t kStep = Register<T>::lanes;
    RowsAhead<T> next(rows, ahead, padded);
    for (int64_t j = 0; j < padded; j += kStep) {
        typename FixedTotals<T>::Block sum;
        next.template ask<kAsked * kStep>();
        C3_UNROLL
        for (int r = 0; r < kRows; ++r) sum.add(load(rows[r] + j) * factors[r]);
        totals.add(sum, j, kRows);
    }
}

template <typename T>
struct TypeOf {
    typedef T type;
};

// Rows some at a time: measured, and added to the sums of their columns, while as many of the next ones as `kAsked` are
// asked for.
template <typename Stored, typename T, int kAsked>
class MeasuredRows {
  public:
    static constexpr int kRows = kRowsOfSums;

    MeasuredRows(const Rows& in, const Moments& found, int64_t first)
        : padded(padded_to_slots(in.n_dims)),
          in_(in),
          found_(found),
          scratch_(padded * int64_t(kRows * sizeof(T) + kBytesPerColumn), 1),
          reader_(in, scratch_),
          totals_(padded, place_between_rows(reader_.place(first), reader_.stride() * int64_t(sizeof(T)), padded,
                                             scratch_)) {}
    ~MeasuredRows() { settle(); }

    // Takes rows `start` and those that follow it, `kRows` at most.
    C3_NOINLINE void take(int64_t start, int n_rows) {
        double squares_of_row[kRows];
        for (int r = 0; r < n_rows; ++r) {
            rows[r] = reader_.row(start + r);
            squares_of_row[r] = sum_of_squares(padded, rows[r]);
        }
        int n_kept = 0;
        const T* kept[kRows];
        T factors_of_kept[kRows];
        for (int r = 0; r < n_rows; ++r) {  // after the sums: roots and quotients of several rows pass side by side
            double norm = 0;
            factors[r] = reciprocal_norm<T>(squares_of_row[r], &norm);
            is_well[r] = usable_norm(norm);
            found_.norms[start + r] = norm;
            found_.status[start + r] = is_well[r] ? kOk : kBadNorm;
            kept[n_kept] = rows[r];
            factors_of_kept[n_kept] = factors[r];
            n_kept += is_well[r];
        }
        FixedTotals<T> totals = totals_;
        if (n_kept == kRows) add_rows<kRows, kAsked>(totals, kept, factors_of_kept, padded, ahead());
        else
            for (int r = 0; r < n_kept; ++r) add_rows<1, 1>(totals, kept + r, factors_of_kept + r, padded, ahead());
        n_rows_ += kRows;
        if (n_rows_ % FixedTotals<T>::kRowsToSettle == 0) settle();
    }

    // Those that follow the rows that were taken last, from the first `skipped` of them on.
    RowsAhead<T> rows_ahead(int skipped) const { return {rows + skipped, ahead(), padded}; }

    const int64_t padded;
    // of the rows that were taken last: where they are, what brings them to norm 1, and whether anything does
    const T* rows[kRows];
    T factors[kRows];
    bool is_well[kRows];

  private:
    int64_t ahead() const { return reader_.in_place() ? (kRows + kRows / 2) * in_.row_stride : 0; }
    void settle() { totals_.settle(in_.n_dims, found_.sums, found_.squares); }

    const Rows& in_;
    const Moments& found_;
    Scratch scratch_;
    const Reader<Stored, T, kRows> reader_;
    FixedTotals<T> totals_;
    int64_t n_rows_ = 0;
};

template <typename Measured>
void moments_of_rows(const Rows& in, const Moments& found, int64_t first, int64_t last) {
    constexpr int kRows = kRowsOfSums;
    Measured measured(in, found, first);
    for (int64_t start = first; start < last; start += kRows)
        measured.take(start, int(last - start < kRows ? last - start : kRows));
}

C3_HD Doubles unit_in_double(const float* row, float factor) { return widened(load_half(row) * factor); }
C3_HD Doubles unit_in_double(const double* row, double factor) { return load(row) * factor; }

// Adds differences of pairs of unit rows, in doubles: of a difference of floats no float holds all, nor its square.
template <int kPairs, typename X, typename Y, typename Ask>
C3_HD void add_differences(FixedTotals<double>& totals, const X* const* x, const X* x_factors, const Y* const* y,
                           const Y* y_factors, int64_t padded, Ask ask) {
    for (int64_t j = 0; j < padded; j += kDoubles) {
        FixedTotals<double>::Block sum;
        ask();
        C3_UNROLL
        for (int r = 0; r < kPairs; ++r)
            sum.add(unit_in_double(x[r] + j, x_factors[r]) - unit_in_double(y[r] + j, y_factors[r]));
        totals.add(sum, j, kPairs);
    }
}

// Meanwhile those of the next rows are asked for that were not while both sides were measured, so that memory never
// rests.
template <typename X, typename Y>
C3_NOINLINE void add_pairs(FixedTotals<double> totals, const X& x, const Y& y, int n_pairs) {
    constexpr int kRows = kRowsOfSums, kLeft = kRows - kRowsAsked;
    bool all = n_pairs == kRows;
    for (int r = 0; r < n_pairs; ++r) all = all && x.is_well[r] && y.is_well[r];
    if (all) {
        auto next_x = x.rows_ahead(kRowsAsked);
        auto next_y = y.rows_ahead(kRowsAsked);
        const auto ask = [&] {
            next_x.template ask<kLeft * kDoubles>();
            next_y.template ask<kLeft * kDoubles>();
        };
        return add_differences<kRows>(totals, x.rows, x.factors, y.rows, y.factors, x.padded, ask);
    }
    for (int r = 0; r < n_pairs; ++r)
        if (x.is_well[r] && y.is_well[r])
            add_differences<1>(totals, x.rows + r, x.factors + r, y.rows + r, y.factors + r, x.padded, [] {});
}

// Both sides of pairs a few rows at a time, and while these are in L1 the sums of their differences.
template <typename X, typename Y>
void moments_of_pairs(const Rows& in_x, const Rows& in_y, const Moments& of_x, const Moments& of_y, int64_t* sums,
                      int64_t* squares, int64_t first, int64_t last) {
    constexpr int kRows = kRowsOfSums;
    X x(in_x, of_x, first);
    Y y(in_y, of_y, first);
    Scratch scratch(kBytesPerColumn * x.padded, 0);
    FixedTotals<double> totals(x.padded, scratch.take<char>(kBytesPerColumn * x.padded));
    for (int64_t start = first; start < last; start += kRows) {
        const int n_pairs = int(last - start < kRows ? last - start : kRows);
        x.take(start, n_pairs);
        y.take(start, n_pairs);
        add_pairs(totals, x, y, n_pairs);
    }
    totals.settle(in_x.n_dims, sums, squares);
}

}  // namespace
}  // namespace c3align
