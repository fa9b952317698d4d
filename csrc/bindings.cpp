// The door to Python: arrays on the host, addresses on a device; nothing kept, no Python object touched while rows run.
// c3align/ops/native.py is the only caller and checks everything first.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "core/fixed_sum.h"
#include "core/philox.h"
#include "cpu/come_back.h"
#include "cpu/dispatch.h"
#include "cpu/floats.h"
#include "cpu/pool.h"
#if defined(C3ALIGN_CUDA)
#include "cuda/kernels.h"
#endif

namespace py = pybind11;
using namespace c3align;

namespace {

// Lets other Python threads run. Once Python shuts down, a daemon thread that wants back in is ended by an unwinding
// that no destructor lets out: `py::gil_scoped_release` would take the process with it. Such a thread waits for the
// end of the process instead (`come_back`), as Python 3.14 has it do itself.
class WithoutGil {
  public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() {
        c3align::come_back([](void* state) { PyEval_RestoreThread(static_cast<PyThreadState*>(state)); }, state_);
    }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

  private:
    PyThreadState* const state_;
};

template <typename T>
T* at(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

template <typename T>
T* memory(const py::array& array) {
    return static_cast<T*>(const_cast<void*>(array.data()));
}

// Memory of a vector, null for None.
const void* memory_or_null(const py::object& vector) {
    return vector.is_none() ? nullptr : py::reinterpret_borrow<py::array>(vector).data();
}

Rows as_rows(const py::array& array, int dtype) {
    const int64_t size = array.itemsize();
    return Rows{memory<void>(array), Dtype(dtype), array.shape(0), array.shape(1), array.strides(0) / size,
                array.strides(1) / size};
}

// What `at_mean_limit` of c3align/ops/reference.py is.
double at_mean_limit(const RowMap& map, const Rows& rows) {
    if (!map.mean || map.shift || !map.renormalize) return 0.0;
    return rows.dtype == Dtype::kFloat64 ? std::sqrt(double(rows.n_dims)) * kAtMeanInDouble : kAtMeanInFloat;
}

const void* vector_of(const py::object& request, const char* name) { return memory_or_null(request.attr(name)); }

// `RowMap` and `Noise` of c3align/ops/rowmap.py, field by field; the request keeps the memory alive.
RowMap as_row_map(const py::object& request, bool stream) {
    const py::object noise = request.attr("noise");
    RowMap map{};
    map.mean = vector_of(request, "mean");
    map.scale = vector_of(request, "scale");
    map.shift = vector_of(request, "shift");
    map.goal = vector_of(request, "goal");
    map.renormalize = request.attr("renormalize").cast<bool>();
    map.is_raw = request.attr("is_raw").cast<bool>();
    map.norm = request.attr("norm").cast<double>();
    map.stream = stream;
    map.noise.sigma = noise.attr("sigma").cast<double>();
    if (map.noise.sigma == 0) return map;
    map.noise.columns = vector_of(noise, "columns");
    map.noise.direction = vector_of(noise, "direction");
    map.noise.radius = noise.attr("radius").cast<double>();
    map.noise.random_strength = noise.attr("random_strength").cast<bool>();
    map.noise.seed = noise.attr("seed").cast<uint64_t>();
    map.noise.row_offset = noise.attr("row_offset").cast<uint64_t>();
    map.noise.row_ids = static_cast<const uint64_t*>(vector_of(noise, "row_ids"));
    return map;
}

// Whether any row is flagged, so that the caller need not look. Without `out` only the status is written.
bool transform(const std::string& isa, int n_threads, const py::array& in, const py::object& out, int dtype,
               const py::object& request, bool stream, const py::array& status) {
    RowMap map = as_row_map(request, stream);
    const Kernels& kernels = kernels_named(isa);
    const Rows source = as_rows(in, dtype);
    const Rows target = out.is_none() ? source : as_rows(py::reinterpret_borrow<py::array>(out), dtype);
    map.writes = !out.is_none();
    map.at_mean = at_mean_limit(map, source);
    uint8_t* verdicts = memory<uint8_t>(status);
    const WithoutGil released;
    parallel_rows(source.n_rows, rows_at_once(source.n_dims), n_threads, [&](int64_t first, int64_t last) {
        kernels.transform(source, target, map, verdicts, first, last);
    });
    return std::any_of(verdicts, verdicts + source.n_rows, [](uint8_t verdict) { return verdict != kOk; });
}

void moments(const std::string& isa, int n_threads, const py::array& in, int dtype, const py::array& sums,
             const py::array& squares, const py::array& norms, const py::array& status) {
    const Kernels& kernels = kernels_named(isa);
    const Rows rows = as_rows(in, dtype);
    if (rows.n_rows > kMaxRowsPerBlock) throw std::invalid_argument("too many rows for one block");
    int64_t *sum = memory<int64_t>(sums), *square = memory<int64_t>(squares);
    double* lengths = memory<double>(norms);
    uint8_t* verdicts = memory<uint8_t>(status);
    const WithoutGil released;
    std::mutex adding;
    parallel_rows(rows.n_rows, 8 * rows_at_once(rows.n_dims), n_threads, [&](int64_t first, int64_t last) {
        std::vector<int64_t> own(size_t(2 * rows.n_dims));
        kernels.moments(rows, own.data(), own.data() + rows.n_dims, lengths, verdicts, first, last);
        std::lock_guard<std::mutex> lock(adding);  // integers: the order does not show
        for (int64_t j = 0; j < rows.n_dims; ++j) {
            sum[j] += own[size_t(j)];
            square[j] += own[size_t(rows.n_dims + j)];
        }
    });
}

using MomentsTuple = std::tuple<py::array, py::array, py::array, py::array>;  // in the order of `Moments`

Moments as_moments(const MomentsTuple& found) {
    return {memory<int64_t>(std::get<0>(found)), memory<int64_t>(std::get<1>(found)),
            memory<double>(std::get<2>(found)), memory<uint8_t>(std::get<3>(found))};
}

void pair_moments(const std::string& isa, int n_threads, const py::array& in_x, int dtype_x, const py::array& in_y,
                  int dtype_y, const MomentsTuple& found_x, const MomentsTuple& found_y, const py::array& sums,
                  const py::array& squares) {
    const Kernels& kernels = kernels_named(isa);
    const Rows x = as_rows(in_x, dtype_x), y = as_rows(in_y, dtype_y);
    if (x.n_rows > kMaxPairsPerBlock) throw std::invalid_argument("too many pairs for one block");
    const Moments of_x = as_moments(found_x), of_y = as_moments(found_y);
    int64_t* const totals[] = {of_x.sums, of_x.squares, of_y.sums, of_y.squares, memory<int64_t>(sums),
                               memory<int64_t>(squares)};
    const size_t n_dims = size_t(x.n_dims);
    const WithoutGil released;
    std::mutex adding;
    parallel_rows(x.n_rows, 8 * rows_at_once(x.n_dims), n_threads, [&](int64_t first, int64_t last) {
        std::vector<int64_t> own(6 * n_dims);
        int64_t* const sum = own.data();
        const Moments own_x{sum, sum + n_dims, of_x.norms, of_x.status};
        const Moments own_y{sum + 2 * n_dims, sum + 3 * n_dims, of_y.norms, of_y.status};
        kernels.pair_moments(x, y, own_x, own_y, sum + 4 * n_dims, sum + 5 * n_dims, first, last);
        std::lock_guard<std::mutex> lock(adding);
        for (size_t k = 0; k < 6; ++k)
            for (size_t j = 0; j < n_dims; ++j) totals[k][j] += sum[k * n_dims + j];
    });
}

// What every `step`-th row shows at a glance: how many have a direction, and of the mean of these unit rows the squared
// norm, the squared distance from `mean` and the product with each of the `directions`, which lie one after another.
std::tuple<int64_t, double, double, std::vector<double>> glance(const std::string& isa, const py::array& in, int dtype,
                                                                int64_t step, const py::array& mean,
                                                                const py::array& directions) {
    const Kernels& kernels = kernels_named(isa);
    Rows rows = as_rows(in, dtype);
    rows.n_rows = (rows.n_rows + step - 1) / step;
    rows.row_stride *= step;
    const size_t n_dims = size_t(rows.n_dims), n_rows = size_t(rows.n_rows);
    const double *goal = memory<double>(mean), *lines = memory<double>(directions);
    const UsualFloats floats;
    std::vector<int64_t> sums(2 * n_dims);
    std::vector<double> norms(n_rows), products(size_t(directions.shape(0)));
    std::vector<uint8_t> status(n_rows);
    kernels.moments(rows, sums.data(), sums.data() + n_dims, norms.data(), status.data(), 0, rows.n_rows);
    const int64_t usable = std::count(status.begin(), status.end(), uint8_t(kOk));
    const double unit = 1 / (double(std::max<int64_t>(usable, 1)) * 0x1p40);
    double squares = 0, distance = 0;
    for (size_t j = 0; j < n_dims; ++j) {
        const double value = double(sums[j]) * unit;
        squares += value * value;
        distance += (value - goal[j]) * (value - goal[j]);
        for (size_t k = 0; k < products.size(); ++k) products[k] += value * lines[k * n_dims + j];
    }
    return {usable, squares, distance, products};
}

// Adds the norms of rows that are well to their bins.
void bin_norms(const py::array& norms, const py::array& status, const py::array& bins) {
    const double* norm = memory<double>(norms);
    const uint8_t* verdicts = memory<uint8_t>(status);
    int64_t* bin = memory<int64_t>(bins);
    const int64_t n_rows = norms.shape(0);
    const WithoutGil released;
    const UsualFloats floats;
    for (int64_t i = 0; i < n_rows; ++i) {
        if (verdicts[i] != kOk) continue;
        const BinnedNorm binned(norm[i]);
        bin[binned.bin] += binned.mantissa;
    }
}

void normals(const std::string& isa, int n_threads, const py::array& out, uint64_t seed, uint64_t row_offset,
             const py::object& row_ids) {
    const Kernels& kernels = kernels_named(isa);
    float* z = memory<float>(out);
    const uint64_t* numbers = static_cast<const uint64_t*>(memory_or_null(row_ids));
    const int64_t n_rows = out.shape(0), n_dims = out.shape(1);
    const WithoutGil released;
    parallel_rows(n_rows, rows_at_once(n_dims), n_threads, [&](int64_t first, int64_t last) {
        kernels.normals(z, n_dims, seed, row_offset, numbers, first, last);
    });
}

void copy(const std::string& isa, int n_threads, const py::array& source, const py::array& target) {
    const Kernels& kernels = kernels_named(isa);
    char *from = memory<char>(source), *to = memory<char>(target);
    const int64_t n_bytes = source.nbytes();
    const WithoutGil released;
    parallel_rows(n_bytes, 1 << 16, n_threads, [&](int64_t first, int64_t last) {
        kernels.copy(to + first, from + first, size_t(last - first));
    });
}

#if defined(C3ALIGN_CUDA)

// (address, dtype code, n_rows, n_dims, row stride, column stride), strides in elements
using RowsTuple = std::tuple<uintptr_t, int, int64_t, int64_t, int64_t, int64_t>;

Rows as_rows(const RowsTuple& t) {
    return Rows{at<void>(std::get<0>(t)), Dtype(std::get<1>(t)), std::get<2>(t),
                std::get<3>(t),           std::get<4>(t),        std::get<5>(t)};
}

void throw_if(const char* error) {
    if (error) throw std::runtime_error(std::string("CUDA: ") + error);
}

// The same of a request whose vectors are addresses on the device.
RowMap as_row_map_on_device(const py::object& request) {
    const py::object noise = request.attr("noise");
    const auto address = [](const py::object& owner, const char* name) {
        return at<void>(owner.attr(name).cast<uintptr_t>());
    };
    RowMap map{};
    map.mean = address(request, "mean");
    map.scale = address(request, "scale");
    map.shift = address(request, "shift");
    map.renormalize = request.attr("renormalize").cast<bool>();
    map.noise.sigma = noise.attr("sigma").cast<double>();
    map.noise.columns = address(noise, "columns");
    map.noise.direction = address(noise, "direction");
    map.noise.radius = noise.attr("radius").cast<double>();
    map.noise.random_strength = noise.attr("random_strength").cast<bool>();
    map.noise.seed = noise.attr("seed").cast<uint64_t>();
    map.noise.row_offset = noise.attr("row_offset").cast<uint64_t>();
    map.noise.row_ids = static_cast<const uint64_t*>(address(noise, "row_ids"));
    map.noise.first_row = static_cast<const int64_t*>(address(noise, "first_row"));
    return map;
}

void on_cuda_transform(const RowsTuple& in, const RowsTuple& out, const py::object& request, uintptr_t status,
                       uintptr_t flag, uintptr_t stream) {
    RowMap map = as_row_map_on_device(request);
    map.at_mean = at_mean_limit(map, as_rows(in));
    throw_if(cuda_transform(as_rows(in), as_rows(out), map, at<uint8_t>(status), at<uint32_t>(flag),
                            at<void>(stream)));
}

void on_cuda_moments(const RowsTuple& in, uintptr_t totals, uintptr_t status, uintptr_t stream) {
    if (as_rows(in).n_rows > kMaxRowsPerBlock) throw std::invalid_argument("too many rows for one block");
    throw_if(cuda_moments(as_rows(in), at<int64_t>(totals), at<uint8_t>(status), at<void>(stream)));
}

void on_cuda_normals(uintptr_t out, int64_t n_rows, int64_t n_dims, uint64_t seed, uint64_t row_offset,
                     uintptr_t stream) {
    throw_if(cuda_normals(at<float>(out), n_rows, n_dims, seed, row_offset, at<void>(stream)));
}

#endif

std::tuple<uint32_t, uint32_t, uint32_t, uint32_t> philox(std::tuple<uint32_t, uint32_t, uint32_t, uint32_t> c,
                                                          std::tuple<uint32_t, uint32_t> key, int n_rounds) {
    Words<uint64_t> w[1] = {{std::get<0>(c), std::get<1>(c), std::get<2>(c), std::get<3>(c)}};
    philox4x32<Scalar>(w, std::get<0>(key), std::get<1>(key), n_rounds);
    return {uint32_t(w[0].w0), uint32_t(w[0].w1), uint32_t(w[0].w2), uint32_t(w[0].w3)};
}

}  // namespace

PYBIND11_MODULE(_C, m) {
    m.doc() = "Compiled row kernels of c3align.ops; see c3align/ops/native.py.";
    m.def("isas", &isas, "Instruction sets this build has and this machine can run, best last.");
    m.def("transform", &transform);
    m.def("moments", &moments);
    m.def("pair_moments", &pair_moments);
    m.def("glance", &glance);
    m.def("bin_norms", &bin_norms);
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
