// Exact sums of unit rows and of their squares, in the fixed point of core/fixed_sum.h.
#pragma once

#include "../core/fixed_sum.h"
#include "row_memory.h"
#include "row_sums.h"

namespace c3align {
namespace {

// Sums over a block of rows of one register of columns, and the totals of all columns that they go to: unsigned, for
// they overflow as they like.
template <typename T>
class FixedTotals {
    using R = Register<T>;

  public:
    static constexpr int64_t kRowsToSettle = kMaxRowsPerBlock;

    explicit FixedTotals(int64_t padded) : padded_(padded), totals_(2 * padded) {}

    struct Block {
        Longs sums[R::halves] = {}, squares[R::halves] = {};

        // The square of a float is exact in doubles, so that it too is rounded once, to 2^-40.
        C3_HD void add(typename R::type unit) {
            Doubles wide[R::halves];
            R::widen(unit, wide);
            for (int h = 0; h < R::halves; ++h) {
                sums[h] += bit_cast<Longs>(wide[h] + kWrap);
                squares[h] += bit_cast<Longs>(R::add_product(wide[h], wide[h], Doubles{} + kWrap));
            }
        }
    };

    C3_HD void add(const Block& block, int64_t column, int n_rows) {
        const uint64_t wrapped = uint64_t(n_rows) * bit_cast<uint64_t>(kWrap);
        for (int h = 0; h < R::halves; ++h) {
            increase(totals_.data + column + h * kDoubles, block.sums[h] - wrapped);
            increase(totals_.data + padded_ + column + h * kDoubles, block.squares[h] - wrapped);
        }
    }

    void settle(int64_t n_dims, int64_t* sums, int64_t* squares) {
        for (int64_t j = 0; j < n_dims; ++j) {
            sums[j] += int64_t(totals_.data[j]);
            squares[j] += int64_t(totals_.data[padded_ + j]);
        }
        totals_.clear();
    }

  private:
    const int64_t padded_;
    Buffer<uint64_t> totals_;
};

#if defined(C3ALIGN_SIMD)

// Floats need no doubles: what rounding to 2^-18 takes is rounded to 2^-40 with what it leaves, in two integers of
// 32 bits for each sum. The square too is rounded once in each, by fma, and leaves an exact rest in between.
template <>
class FixedTotals<float> {
    using V = Vector;

  public:
    static constexpr int64_t kRowsToSettle = 512;  // of which the rests, below 2^21 each, fill 30 bits

    explicit FixedTotals(int64_t padded) : padded_(padded), totals_(4 * padded) {}

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
            increase(totals_.data + 2 * k * padded_ + column, wrapped - block.coarse[k]);
            increase(totals_.data + (2 * k + 1) * padded_ + column, block.fine[k] - rest_wrapped);
        }
    }

    void settle(int64_t n_dims, int64_t* sums, int64_t* squares) {
        const uint32_t* t = totals_.data;
        for (int64_t j = 0; j < n_dims; ++j) {
            sums[j] += int64_t(int32_t(t[j])) * kFinePerCoarse + int32_t(t[padded_ + j]);
            squares[j] += int64_t(int32_t(t[2 * padded_ + j])) * kFinePerCoarse + int32_t(t[3 * padded_ + j]);
        }
        totals_.clear();
    }

  private:
    // around them the last bit of a float is worth 2^-18, and 2^-40; their difference is a float too
    static constexpr float kCoarse = 48, kFine = 0x1.8p-17f;
    static constexpr int64_t kFinePerCoarse = int64_t{1} << 22;

    const int64_t padded_;
    Buffer<uint32_t> totals_;
};

#endif

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
    FixedTotals<T> totals(padded);
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
        for (int64_t j = 0; j < padded; j += R::lanes) {
            typename FixedTotals<T>::Block sum;
            for (int r = 0; r < n_kept; ++r) {
                if (in_place && (j & R::lanes)) prefetch(kept[r] + ahead + j);
                sum.add(R::load(kept[r] + j) * factors[r]);
            }
            totals.add(sum, j, n_kept);
        }
        if ((stop - first) % FixedTotals<T>::kRowsToSettle == 0) totals.settle(in.n_dims, sums, squares);
    }
    totals.settle(in.n_dims, sums, squares);
}

}  // namespace
}  // namespace c3align
