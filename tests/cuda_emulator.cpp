// The CUDA kernels on a CPU: each thread of a block is a fiber, and all go round in turn, so that shuffles and
// barriers mean what they mean on a card. Slow, and enough to compare every bit with the reference where no card is.
// Linked to the bindings in place of what nvcc compiles, it makes an extension that takes memory of this process.
// Speed, memory models and what the compiler makes of it remain for a real one.
#define C3ALIGN_EMULATED_CUDA 1

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

#include "../csrc/core/half.h"

struct Index {
    int x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr size_t kStackBytes = 1 << 17;
constexpr int kWarp = 32;

struct Fiber {
    ucontext_t context;
    jmp_buf here;
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    bool begun = false, done = false;
};

static jmp_buf scheduler;
static std::vector<Fiber> fibers;
static std::function<void()> body;
static std::vector<unsigned long long> shared;
static double lanes[2][1024];
static int parity[1024];
static int arrived, generation;

// A fiber begins by its context and goes on by jumps: a change of context asks the system for a mask of signals.
static void yield() {
    const int self = threadIdx.x;
    if (!_setjmp(fibers[self].here)) _longjmp(scheduler, 1);
    threadIdx.x = self;
}

static void enter() {
    body();
    fibers[threadIdx.x].done = true;
    _longjmp(scheduler, 1);
}

static void go_on(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.here, 1);
    fiber.begun = true;
    setcontext(&fiber.context);
}

static void run_block(int n_threads) {
    fibers = std::vector<Fiber>(n_threads);
    arrived = 0;
    std::memset(parity, 0, sizeof parity);
    for (Fiber& fiber : fibers) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStackBytes;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    for (bool going = true; going;) {
        going = false;
        for (int i = 0; i < n_threads; ++i) {
            if (fibers[i].done) continue;
            going = true;
            threadIdx.x = i;
            go_on(fibers[i]);
        }
    }
}

}  // namespace emulator

static void __syncthreads() {
    const int mine = emulator::generation;
    if (++emulator::arrived == blockDim.x) {
        emulator::arrived = 0;
        ++emulator::generation;
    }
    while (emulator::generation == mine) emulator::yield();
}

// All lanes of a warp come here in the same turn; two buffers, for a lane may be one shuffle ahead of the next.
static double exchanged(double value, int other) {
    const int self = threadIdx.x, buffer = emulator::parity[self] ^= 1;
    emulator::lanes[buffer][self] = value;
    emulator::yield();
    return emulator::lanes[buffer][other];
}

static double __shfl_xor_sync(unsigned, double value, int distance) { return exchanged(value, threadIdx.x ^ distance); }

template <typename T>
static T __shfl_sync(unsigned, T value, int lane) {
    const int self = threadIdx.x;
    return T(exchanged(double(value), self / emulator::kWarp * emulator::kWarp + lane));
}

static int __all_sync(unsigned, int mine) {
    double all = mine != 0;
    for (int distance = emulator::kWarp / 2; distance > 0; distance /= 2) {
        const double theirs = __shfl_xor_sync(0xFFFFFFFFu, all, distance);
        all = all != 0 && theirs != 0;
    }
    return all != 0;
}

static int __syncthreads_and(int mine) {
    static int all;
    if (threadIdx.x == 0) all = 1;
    __syncthreads();
    if (!mine) all = 0;
    __syncthreads();
    const int result = all;
    __syncthreads();
    return result;
}

static void atomicOr(uint32_t* target, uint32_t value) { *target |= value; }
static void atomicAdd(unsigned long long* target, unsigned long long value) { *target += value; }

struct __half : c3align::Half {};
struct __nv_bfloat16 : c3align::BFloat16 {};
static float __half2float(__half x) { return c3align::widen(static_cast<c3align::Half>(x)); }
static float __bfloat162float(__nv_bfloat16 x) { return c3align::widen(static_cast<c3align::BFloat16>(x)); }
static __half __float2half_rn(float x) {
    __half out;
    c3align::narrow(x, static_cast<c3align::Half&>(out));
    return out;
}
static __nv_bfloat16 __float2bfloat16_rn(float x) {
    __nv_bfloat16 out;
    c3align::narrow(x, static_cast<c3align::BFloat16&>(out));
    return out;
}

typedef void* cudaStream_t;

namespace c3align {
namespace {

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), int grid, int threads, size_t shared, cudaStream_t, Arguments... arguments) {
    gridDim.x = grid;
    blockDim.x = threads;
    emulator::shared.assign(shared / 8 + 1, 0xDEADBEEFu);  // what a kernel does not set, it may not read
    emulator::body = [=] { kernel(arguments...); };
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) emulator::run_block(threads);
}

unsigned long long* dynamic_shared() { return emulator::shared.data(); }
template <typename Kernel>
void allow_shared(Kernel, size_t) {}
const char* launch_error() { return nullptr; }
template <typename Kernel>
int resident_blocks(Kernel, int, size_t) {
    return 2;  // so few that they go on to further rows
}
int device_count() { return 1; }

}  // namespace
}  // namespace c3align

#include "../csrc/cuda/transform.cu"
