// The value types that the arithmetic is written over. `Scalar` is one column at a time: CUDA threads, tails and
// machines without vectors. `cpu/simd.h` has the same primitives for AVX2, AVX-512 and NEON registers, so that all
// of them instantiate the same lines of `philox.h` and `normal.h`, and give the same bits.
#pragma once

#include "portable.h"

namespace c3align {

struct Scalar {
    using F = float;
    using I = int32_t;
    using U = uint32_t;
    using W = uint64_t;  // a 32-bit word in the low half; the high half is anything

    static C3_HD F splat(float a) { return a; }
    static C3_HD I splat(int32_t a) { return a; }
    static C3_HD W splat(uint64_t a) { return a; }
    static C3_HD F fma(F a, F b, F c) { return fmaf(a, b, c); }
    static C3_HD F sqrt(F a) {
#if defined(__CUDA_ARCH__)
        // the compiler's own sequence, correctly rounded for normal numbers, without its branch to all others
        float y;
        asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(a));
        const float root = a * y;
        return fmaf(fmaf(-root, root, a), 0.5f * y, root);
#else
        return sqrtf(a);
#endif
    }
    static C3_HD F to_float(I a) { return float(a); }
    static C3_HD bool has_bit(U a, uint32_t bit) {
#if defined(__CUDA_ARCH__)
        U rest;  // one instruction with the comparison; the compiler alone would shift and mask
        asm("and.b32 %0, %1, %2;" : "=r"(rest) : "r"(a), "r"(bit));
        return rest != 0;
#else
        return (a & bit) != 0;
#endif
    }
    static C3_HD I bits(F a) { return bit_cast<I>(a); }
    static C3_HD F from_bits(I a) { return bit_cast<F>(a); }
    static C3_HD I select(bool choose, I a, I b) { return choose ? a : b; }
    static C3_HD F select(bool choose, F a, F b) { return choose ? a : b; }
    // 64-bit product of the low halves
    static C3_HD W multiply_words(W a, uint32_t b) {
#if defined(__CUDA_ARCH__)
        W product;  // one instruction; of a product of uint64_t the compiler makes two
        asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(uint32_t(a)), "r"(b));
        return product;
#else
        return uint64_t(uint32_t(a)) * b;
#endif
    }
};

}  // namespace c3align
