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

constexpr int kRowsOfSums = 8;  // fewer than the ways of L1: rows of 1024 floats all map to one set

// Adds rows times their factors, a register of columns of all rows at a time, so that sums stay in registers. Meanwhile
// the rows that lie `ahead` are asked for in the order of memory, which it serves faster than column by column.
template <int kRows, typename T>
C3_HD void add_rows(FixedTotals<T>& totals, const T* const* rows, const T* factors, int64_t padded, int64_t ahead) {
    constexpr int64_t kStep = Register<T>::lanes, kInLine = kLine / int64_t(sizeof(T));
    const T* const* asked_row = rows;
    int64_t asked_column = 0;
    for (int64_t j = 0; j < padded; j += kStep) {
        typename FixedTotals<T>::Block sum;
        C3_UNROLL
        for (int r = 0; r < kRows; ++r) {
            if (r * kInLine < kRows * kStep) prefetch(*asked_row + ahead + asked_column + r * kInLine);
            sum.add(load(rows[r] + j) * factors[r]);
        }
        totals.add(sum, j, kRows);
        asked_column += kRows * kStep;
        if (asked_column < padded) continue;
        asked_column = 0;
        ++asked_row;
    }
}

template <typename Stored, typename T>
void moments_of_rows(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status, int64_t first,
                     int64_t last) {
    constexpr int kRows = kRowsOfSums;
    const int64_t padded = padded_to_slots(in.n_dims);
    Scratch scratch(padded * int64_t(kRows * sizeof(T) + kBytesPerColumn), 1);
    const Reader<Stored, T, kRows> reader(in, scratch);
    const int64_t stride = reader.stride() * int64_t(sizeof(T));
    FixedTotals<T> totals(padded, place_between_rows(reader.place(first), stride, padded, scratch));
    const int64_t ahead = reader.in_place() ? (kRows + kRows / 2) * in.row_stride : 0;
    for (int64_t start = first; start < last; start += kRows) {
        const int n_rows = int(last - start < kRows ? last - start : kRows);
        const T* rows[kRows];
        double squares_of_row[kRows];
        for (int r = 0; r < n_rows; ++r) {
            rows[r] = reader.row(start + r);
            squares_of_row[r] = sum_of_squares(padded, rows[r]);
        }
        int n_kept = 0;
        T factors[kRows];
        for (int r = 0; r < n_rows; ++r) {  // after the sums: roots and quotients of several rows pass side by side
            const int64_t i = start + r;
            factors[n_kept] = reciprocal_norm<T>(squares_of_row[r], &norms[i]);
            status[i] = usable_norm(norms[i]) ? kOk : kBadNorm;
            rows[n_kept] = rows[r];
            n_kept += status[i] == kOk;
        }
        if (n_kept == kRows) add_rows<kRows>(totals, rows, factors, padded, ahead);
        else
            for (int r = 0; r < n_kept; ++r) add_rows<1>(totals, rows + r, factors + r, padded, ahead);
        if ((start + kRows - first) % FixedTotals<T>::kRowsToSettle == 0) totals.settle(in.n_dims, sums, squares);
    }
    totals.settle(in.n_dims, sums, squares);
}

}  // namespace
}  // namespace c3align
