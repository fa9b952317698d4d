// What every core header needs: one spelling of "runs on the host and on the device", and bit casts.
// No Python, no torch, no CPU intrinsics in core/: CPU and CUDA compile the same arithmetic.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define C3_HD __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define C3_HD __forceinline
#else
#define C3_HD inline __attribute__((always_inline))
#endif

// Functions that are seldom called, from loops that shall stay short.
#if defined(_MSC_VER)
#define C3_NOINLINE __declspec(noinline)
#else
#define C3_NOINLINE __attribute__((noinline))
#endif

// Loops whose passes the compiler shall write out, where it would count them too many.
#if defined(__CUDACC__) || defined(__clang__)
#define C3_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define C3_UNROLL _Pragma("GCC unroll 16")
#else
#define C3_UNROLL
#endif

namespace c3align {

template <typename To, typename From>
C3_HD To bit_cast(From value) {
    static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}

// One rounding in float32. In float64 two, because NumPy, our specification, has no fused operation there.
C3_HD float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
C3_HD double multiply_add(double a, double b, double c) { return a * b + c; }

}  // namespace c3align
