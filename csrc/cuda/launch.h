// What the kernels need of the CUDA runtime, in one place. The tests put their own version of this file's functions
// here (C3ALIGN_EMULATED_CUDA): the kernels then run on a CPU, thread by thread, where no card is.
#pragma once

#if !defined(C3ALIGN_EMULATED_CUDA)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace c3align {
namespace {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), int grid, int threads, size_t shared, cudaStream_t stream,
            Arguments... arguments) {
    kernel<<<grid, threads, shared, stream>>>(arguments...);
}

// The memory that a launch's `shared` bytes ask for, aligned for four floats at a time.
__device__ __forceinline__ unsigned long long* dynamic_shared() {
    extern __shared__ __align__(16) unsigned long long c3align_dynamic_shared[];
    return c3align_dynamic_shared;
}

// Above 48 KiB a kernel has to ask first, and the static shared memory of ours counts too, up to 10 KiB.
constexpr size_t kSharedWithoutAsking = 38 << 10;

template <typename Kernel>
void allow_shared(Kernel kernel, size_t n_bytes) {
    if (n_bytes <= kSharedWithoutAsking) return;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(n_bytes));
}

const char* launch_error() {
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

int processor_count() {
    int device = 0, processors = 1;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    return processors;
}

int device_count() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    cudaGetLastError();  // no driver is no error
    return error == cudaSuccess ? count : 0;
}

}  // namespace
}  // namespace c3align

#endif
