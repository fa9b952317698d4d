// What the kernels need of the CUDA runtime, in one place. The tests put their own version of this file's functions
// here (C3ALIGN_EMULATED_CUDA): the kernels then run on a CPU, thread by thread, where no card is.
#pragma once

#if !defined(C3ALIGN_EMULATED_CUDA)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <tuple>

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

// Above 48 KiB a kernel has to ask first, and the static shared memory of ours counts too, up to 17 KiB.
constexpr size_t kSharedWithoutAsking = 31 << 10;

template <typename Kernel>
void allow_shared(Kernel kernel, size_t n_bytes) {
    if (n_bytes <= kSharedWithoutAsking) return;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(n_bytes));
}

const char* launch_error() {
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// How many blocks of a kernel all processors of the device hold at once: each is started once and goes on to further
// rows. Asked once for each kernel, device and size; no stream sees the question.
template <typename Kernel>
int resident_blocks(Kernel kernel, int threads, size_t shared) {
    static std::mutex asking;
    static std::map<std::tuple<const void*, int, int, size_t>, int> known;
    int device = 0, processors = 1, blocks = 1;
    cudaGetDevice(&device);
    const std::lock_guard<std::mutex> guard(asking);
    const auto key = std::make_tuple(reinterpret_cast<const void*>(kernel), device, threads, shared);
    if (const auto found = known.find(key); found != known.end()) return found->second;
    if (cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared) != cudaSuccess || blocks < 1)
        return 1;  // the launch will tell why
    return known[key] = processors * blocks;
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
