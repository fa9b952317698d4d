// Sums over a row along the tree of core/row.h, in registers.
#pragma once

#include "../core/row.h"
#include "simd.h"

namespace c3align {
namespace {

// The registers that sums are taken in, `kSums` doubles wide, of which `kAtOnce` go down a row together.
// With C3ALIGN_NARROW_SUMS they are half as wide as the processor's: Zen 4 makes four floats in memory doubles in half
// a cycle and eight in 1.3, so that the squares of a row take 0.6 of the time.
#if C3ALIGN_SIMD == 64 && !defined(C3ALIGN_NARROW_SUMS)

typedef Doubles Sums;
constexpr int kSums = 8, kAtOnce = 16;
C3_HD Sums load_wide(const float* a) { return Sums(_mm512_cvtps_pd(_mm256_loadu_ps(a))); }
C3_HD Sums fma_sums(Sums a, Sums b, Sums c) { return Sums(_mm512_fmadd_pd(__m512d(a), __m512d(b), __m512d(c))); }

#elif C3ALIGN_SIMD >= 32

typedef double Sums __attribute__((vector_size(32)));
constexpr int kSums = 4, kAtOnce = C3ALIGN_SIMD == 64 ? 16 : 8;
C3_HD Sums load_wide(const float* a) { return Sums(_mm256_cvtps_pd(_mm_loadu_ps(a))); }
C3_HD Sums fma_sums(Sums a, Sums b, Sums c) { return Sums(_mm256_fmadd_pd(__m256d(a), __m256d(b), __m256d(c))); }

#elif C3ALIGN_SIMD == 16

typedef Doubles Sums;
constexpr int kSums = 2, kAtOnce = 16;
C3_HD Sums load_wide(const float* a) { return Sums(vcvt_f64_f32(vld1_f32(a))); }
C3_HD Sums fma_sums(Sums a, Sums b, Sums c) {
    return Sums(vfmaq_f64(float64x2_t(c), float64x2_t(a), float64x2_t(b)));
}

#else

typedef double Sums;
constexpr int kSums = 1, kAtOnce = kSlots;
C3_HD Sums load_wide(const float* a) { return *a; }
C3_HD Sums fma_sums(Sums a, Sums b, Sums c) { return a * b + c; }  // of exact products alone

#endif

C3_HD Sums load_wide(const double* a) {
    Sums value;
    memcpy(&value, a, sizeof value);
    return value;
}

// products of float32 are exact in float64, so that fusing them changes no bit
C3_HD Sums add_products(const float* a, const float* b, Sums total) {
    return fma_sums(load_wide(a), load_wide(b), total);
}
C3_HD Sums add_products(const double* a, const double* b, Sums total) { return total + load_wide(a) * load_wide(b); }

// The end of the tree: lanes, each the sum of its four slots, and what becomes of them. Where a sum of pairs has its
// result only matters to the next one, so half of each pair stays where it is and one shuffle brings the other.
#if C3ALIGN_SIMD >= 32

class Lanes {
  public:
    // `pass` is the first slot of these
    C3_HD void take(int pass, const Sums* slots) {
        for (int k = 0; k < kAtOnce / 4; ++k) lanes_[pass / (4 * kSums) + k] = of_four_registers(slots + 4 * k);
    }

    C3_HD double total() const {
        constexpr int kRegisters = kLanes / kSums;
        Sums lanes[kRegisters / 2];
        for (int k = 0; k < kRegisters / 2; ++k) lanes[k] = lanes_[k] + lanes_[k + kRegisters / 2];  // distance 16
        for (int n = kRegisters / 4; n > 0; n /= 2)
            for (int k = 0; k < n; ++k) lanes[k] = lanes[k] + lanes[k + n];  // 8, and 4 of narrow ones
        return of_one_register(lanes[0]);
    }

  private:
    Sums lanes_[kLanes / kSums];

#if C3ALIGN_SIMD == 64 && !defined(C3ALIGN_NARROW_SUMS)

    // two lanes in each register; those of the result are 0 2 | 4 6 | 1 3 | 5 7
    static C3_HD Sums of_four_registers(const Sums* r) {
        const __m512d a = pairs(r[0], r[1]), b = pairs(r[2], r[3]);
        const __m512i others = _mm512_setr_epi64(2, 3, 8, 9, 6, 7, 12, 13);
        return Sums(_mm512_add_pd(_mm512_mask_blend_pd(0xCC, a, b), _mm512_permutex2var_pd(a, others, b)));
    }
    static C3_HD __m512d pairs(Sums x, Sums y) {
        const __m512d a = __m512d(x), b = __m512d(y);
        return _mm512_add_pd(_mm512_mask_blend_pd(0xAA, a, b), _mm512_shuffle_pd(a, b, 0x55));
    }
    static C3_HD double of_one_register(Sums lanes) {
        const __m256d even = _mm512_castpd512_pd256(__m512d(lanes)), odd = _mm512_extractf64x4_pd(__m512d(lanes), 1);
        const __m128d a = _mm_add_pd(_mm256_castpd256_pd128(even), _mm256_extractf128_pd(even, 1));  // 4
        const __m128d b = _mm_add_pd(_mm256_castpd256_pd128(odd), _mm256_extractf128_pd(odd, 1));
        const __m128d c = _mm_add_pd(_mm_unpacklo_pd(a, b), _mm_unpackhi_pd(a, b));  // 2
        return _mm_cvtsd_f64(c) + _mm_cvtsd_f64(_mm_unpackhi_pd(c, c));              // 1
    }

#else

    // a lane in each register
    static C3_HD Sums of_four_registers(const Sums* r) {
        const __m256d a = pairs(r[0], r[1]), b = pairs(r[2], r[3]);
        return Sums(_mm256_add_pd(_mm256_blend_pd(a, b, 0b1100), _mm256_permute2f128_pd(a, b, 0x21)));
    }
    static C3_HD __m256d pairs(Sums x, Sums y) {
        const __m256d a = __m256d(x), b = __m256d(y);
        return _mm256_add_pd(_mm256_blend_pd(a, b, 0b1010), _mm256_shuffle_pd(a, b, 0b0101));
    }
    static C3_HD double of_one_register(Sums lanes) {
        const __m256d x = __m256d(lanes);
        const __m128d a = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));  // 2
        return _mm_cvtsd_f64(a) + _mm_cvtsd_f64(_mm_unpackhi_pd(a, a));                        // 1
    }

#endif
};

#else

class Lanes {
  public:
    void take(int pass, const Sums* slots) { memcpy(slots_ + pass, slots, kAtOnce * sizeof *slots); }
    double total() const { return reduce_slots(slots_); }

  private:
    double slots_[kSlots];
};

#endif

// Sums over one segment, of slots that fit in registers together.
template <typename T>
struct SegmentSums {
    Sums slots[kAtOnce];

    C3_HD SegmentSums(const T* a, const T* b, int64_t n) {
        C3_UNROLL
        for (int k = 0; k < kAtOnce; ++k) slots[k] = load_wide(a + k * kSums) * load_wide(b + k * kSums);
        for (int64_t step = kSlots; step < n; step += kSlots) {
            C3_UNROLL
            for (int k = 0; k < kAtOnce; ++k)
                slots[k] = add_products(a + step + k * kSums, b + step + k * kSums, slots[k]);
        }
    }
};

// Takes the sums of all slots that fit in registers together, then of the next ones; `sums_from` makes them.
template <typename SumsFrom>
C3_HD double total_of_passes(SumsFrom sums_from) {
    Lanes lanes;
    C3_UNROLL
    for (int pass = 0; pass < kSlots; pass += kAtOnce * kSums) lanes.take(pass, sums_from(pass).slots);
    return lanes.total();
}

// A row of several segments. Apart, to keep the usual rows' loops short.
template <typename T>
C3_NOINLINE double wide_sum_of_products(int64_t padded, const T* a, const T* b) {
    return total_of_passes([=](int pass) {
        const auto segment = [=](int64_t first) {
            const int64_t n = padded - first < kSegment ? padded - first : int64_t(kSegment), j = first + pass;
            return SegmentSums<T>(a + j, b + j, n);
        };
        SegmentSums<T> sums = segment(0);
        for (int64_t first = kSegment; first < padded; first += kSegment) {
            const SegmentSums<T> next = segment(first);
            for (int k = 0; k < kAtOnce; ++k) sums.slots[k] = sums.slots[k] + next.slots[k];
        }
        return sums;
    });
}

// The sum of a[j] * b[j] over a row of `padded` columns.
template <typename T>
C3_HD double sum_of_products(int64_t padded, const T* a, const T* b) {
    if (padded > kSegment) return wide_sum_of_products(padded, a, b);
    return total_of_passes([=](int pass) { return SegmentSums<T>(a + pass, b + pass, padded); });
}

template <typename T>
C3_HD double sum_of_squares(int64_t padded, const T* row) {
    return sum_of_products(padded, row, row);
}

// The factor that brings a row with this sum of squares to norm 1, in the row's own type; 0 when unusable.
template <typename T>
T reciprocal_norm(double sum_of_squares, double* norm) {
    *norm = std::sqrt(sum_of_squares);
    return usable_norm(*norm) ? T(1.0 / *norm) : T(0);
}

}  // namespace
}  // namespace c3align
