// Sums over a row along the tree of core/row.h, in registers.
#pragma once

#include "../core/row.h"
#include "simd.h"

namespace c3align {
namespace {

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

}  // namespace
}  // namespace c3align
