// The door to Python: addresses, shapes and strides in, nothing kept, no Python object touched while rows run.
// c3align/ops/native.py is the only caller and checks everything first.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <mutex>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "core/fixed_sum.h"
#include "core/philox.h"
#include "cpu/kernels.h"
#include "cpu/pool.h"
#if defined(C3ALIGN_CUDA)
#include "cuda/kernels.h"
#endif

namespace py = pybind11;
using namespace c3align;

namespace {

// (address, dtype code, n_rows, n_dims, row stride, column stride), strides in elements
using RowsTuple = std::tuple<uintptr_t, int, int64_t, int64_t, int64_t, int64_t>;

Rows as_rows(const RowsTuple& t) {
    return Rows{reinterpret_cast<void*>(std::get<0>(t)), Dtype(std::get<1>(t)), std::get<2>(t),
                std::get<3>(t), std::get<4>(t), std::get<5>(t)};
}

template <typename T>
T* at(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> found{&portable_kernels()};
#if defined(C3ALIGN_X86_KERNELS)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2) found.push_back(&avx2_kernels());
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        found.push_back(&avx512_kernels());
#endif
    return found;
}

const Kernels& kernels_named(const std::string& isa) {
    static const std::vector<const Kernels*> found = available_kernels();
    for (const Kernels* kernels : found)
        if (isa == kernels->isa) return *kernels;
    throw std::invalid_argument("this machine or build has no kernels named " + isa);
}

std::vector<std::string> isas() {
    std::vector<std::string> names;
    for (const Kernels* kernels : available_kernels()) names.push_back(kernels->isa);
    return names;
}

// Rows that a thread takes at a time: about 128 KiB, which its L2 holds beside the result.
int64_t rows_at_once(int64_t n_dims) { return n_dims < 32768 ? 32768 / n_dims : 1; }

void transform(const std::string& isa, int n_threads, const RowsTuple& in, const RowsTuple& out, uintptr_t mean,
               uintptr_t scale, uintptr_t shift, bool renormalize, double sigma, uint64_t seed, uint64_t row_offset,
               bool stream, uintptr_t status) {
    const RowMap map{at<void>(mean), at<void>(scale), at<void>(shift), sigma, seed, row_offset, renormalize, stream};
    const Kernels& kernels = kernels_named(isa);
    const Rows source = as_rows(in), target = as_rows(out);
    py::gil_scoped_release release;
    parallel_rows(source.n_rows, rows_at_once(source.n_dims), n_threads, [&](int64_t first, int64_t last) {
        kernels.transform(source, target, map, at<uint8_t>(status), first, last);
    });
}

void moments(const std::string& isa, int n_threads, const RowsTuple& in, uintptr_t sums, uintptr_t squares,
             uintptr_t norms, uintptr_t status) {
    const Kernels& kernels = kernels_named(isa);
    const Rows rows = as_rows(in);
    if (rows.n_rows > kMaxRowsPerBlock) throw std::invalid_argument("too many rows for one block");
    py::gil_scoped_release release;
    std::mutex adding;
    parallel_rows(rows.n_rows, 8 * rows_at_once(rows.n_dims), n_threads, [&](int64_t first, int64_t last) {
        std::vector<int64_t> own(size_t(2 * rows.n_dims));
        kernels.moments(rows, own.data(), own.data() + rows.n_dims, at<double>(norms), at<uint8_t>(status), first,
                        last);
        std::lock_guard<std::mutex> lock(adding);  // integers: the order does not show
        for (int64_t j = 0; j < rows.n_dims; ++j) {
            at<int64_t>(sums)[j] += own[size_t(j)];
            at<int64_t>(squares)[j] += own[size_t(rows.n_dims + j)];
        }
    });
}

void normals(const std::string& isa, int n_threads, uintptr_t out, int64_t n_rows, int64_t n_dims, uint64_t seed,
             uint64_t row_offset) {
    const Kernels& kernels = kernels_named(isa);
    py::gil_scoped_release release;
    parallel_rows(n_rows, rows_at_once(n_dims), n_threads, [&](int64_t first, int64_t last) {
        kernels.normals(at<float>(out), n_dims, seed, row_offset, first, last);
    });
}

void copy(const std::string& isa, int n_threads, uintptr_t target, uintptr_t source, int64_t n_bytes) {
    const Kernels& kernels = kernels_named(isa);
    py::gil_scoped_release release;
    parallel_rows(n_bytes, 1 << 17, n_threads, [&](int64_t first, int64_t last) {
        kernels.copy(at<char>(target) + first, at<char>(source) + first, size_t(last - first));
    });
}

#if defined(C3ALIGN_CUDA)

void throw_if(const char* error) {
    if (error) throw std::runtime_error(std::string("CUDA: ") + error);
}

void on_cuda_transform(const RowsTuple& in, const RowsTuple& out, uintptr_t mean, uintptr_t scale, uintptr_t shift,
                       bool renormalize, double sigma, uint64_t seed, uint64_t row_offset, uintptr_t status,
                       uintptr_t stream) {
    const RowMap map{at<void>(mean), at<void>(scale), at<void>(shift), sigma, seed, row_offset, renormalize, false};
    throw_if(cuda_transform(as_rows(in), as_rows(out), map, at<uint8_t>(status), at<void>(stream)));
}

void on_cuda_moments(const RowsTuple& in, uintptr_t sums, uintptr_t squares, uintptr_t norms, uintptr_t status,
                     uintptr_t stream) {
    if (as_rows(in).n_rows > kMaxRowsPerBlock) throw std::invalid_argument("too many rows for one block");
    throw_if(cuda_moments(as_rows(in), at<int64_t>(sums), at<int64_t>(squares), at<double>(norms),
                          at<uint8_t>(status), at<void>(stream)));
}

void on_cuda_normals(uintptr_t out, int64_t n_rows, int64_t n_dims, uint64_t seed, uint64_t row_offset,
                     uintptr_t stream) {
    throw_if(cuda_normals(at<float>(out), n_rows, n_dims, seed, row_offset, at<void>(stream)));
}

#endif

std::tuple<uint32_t, uint32_t, uint32_t, uint32_t> philox(std::tuple<uint32_t, uint32_t, uint32_t, uint32_t> c,
                                                          std::tuple<uint32_t, uint32_t> key, int n_rounds) {
    const Words<uint64_t> counter{std::get<0>(c), std::get<1>(c), std::get<2>(c), std::get<3>(c)};
    const Words<uint64_t> w = philox4x32<Scalar>(counter, std::get<0>(key), std::get<1>(key), n_rounds);
    return {uint32_t(w.w0), uint32_t(w.w1), uint32_t(w.w2), uint32_t(w.w3)};
}

}  // namespace

PYBIND11_MODULE(_C, m) {
    m.doc() = "Compiled row kernels of c3align.ops; see c3align/ops/native.py.";
    m.def("isas", &isas, "Instruction sets this build has and this machine can run, best last.");
    m.def("transform", &transform);
    m.def("moments", &moments);
    m.def("normals", &normals);
    m.def("copy", &copy);
#if defined(C3ALIGN_CUDA)
    m.attr("has_cuda") = true;
    m.attr("max_cuda_dims") = kMaxCudaDims;
    m.def("cuda_device_count", &cuda_device_count, "Devices that a driver offers; 0 without one.");
    m.def("cuda_transform", &on_cuda_transform);
    m.def("cuda_moments", &on_cuda_moments);
    m.def("cuda_normals", &on_cuda_normals);
#else
    m.attr("has_cuda") = false;
#endif
    m.def("philox4x32", &philox, "Words of one counter, for the known-answer test.");
}
