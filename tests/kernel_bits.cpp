// Prints a hash of what the CPU kernels make of many kinds of rows, a line for each: for test_elsewhere.py, which runs
// it as other compilers build it, and on an emulated processor of another kind.
#include <cstdio>
#include <cstring>
#include <vector>

#include "../csrc/cpu/kernels.h"

using namespace c3align;

namespace {

constexpr int64_t kRows = 37;

struct Hash {
    uint64_t value = 0xCBF29CE484222325u;

    template <typename T>
    void add(const std::vector<T>& data) {
        const unsigned char* bytes = reinterpret_cast<const unsigned char*>(data.data());
        for (size_t i = 0; i < data.size() * sizeof(T); ++i) value = (value ^ bytes[i]) * 0x100000001B3u;
    }
};

struct Random {
    uint64_t state;

    uint32_t bits() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return uint32_t(state >> 32);
    }
    // a multiple of 2^-12 below 1, which every step below keeps exact
    double fraction() { return (bits() >> 20) * 0x1p-12; }
};

// As a value of the dtype: bfloat16 is the upper half of a float, and float16 gets bits of numbers around 1.
void put(unsigned char* to, Dtype dtype, double value, Random& random) {
    const float single = float(value);
    const uint16_t half = value == 0 ? 0 : uint16_t((random.bits() & 0x83FF) | 0x3000);
    if (dtype == Dtype::kFloat64) memcpy(to, &value, 8);
    else if (dtype == Dtype::kFloat32) memcpy(to, &single, 4);
    else if (dtype == Dtype::kFloat16) memcpy(to, &half, 2);
    else memcpy(to, reinterpret_cast<const char*>(&single) + 2, 2);
}

// Rows of two sizes and some of zeros.
std::vector<unsigned char> make_rows(Dtype dtype, size_t size, int64_t n_dims, Random& random) {
    std::vector<unsigned char> rows(size_t(kRows * n_dims) * size);
    for (int64_t i = 0; i < kRows * n_dims; ++i) {
        const int64_t row = i / n_dims;
        const double scale = row % 11 == 7 ? 0 : row % 5 == 0 ? 0x1p-10 : 4;
        put(&rows[size_t(i) * size], dtype, (random.fraction() - 0.5) * scale, random);
    }
    return rows;
}

std::vector<unsigned char> make_vector(Dtype dtype, int64_t n_dims, double scale, Random& random) {
    const Dtype wide = dtype == Dtype::kFloat64 ? dtype : Dtype::kFloat32;
    const size_t size = wide == Dtype::kFloat64 ? 8 : 4;
    std::vector<unsigned char> vector(size_t(n_dims) * size);
    for (int64_t j = 0; j < n_dims; ++j) put(&vector[size_t(j) * size], wide, random.fraction() * scale, random);
    return vector;
}

uint64_t hash_of_kernels(const Kernels& kernels, Dtype dtype, int64_t n_dims) {
    Hash hash;
    Random random{uint64_t(n_dims) * 4 + uint64_t(dtype)};
    const size_t size = dtype == Dtype::kFloat64 ? 8 : dtype == Dtype::kFloat32 ? 4 : 2;
    std::vector<unsigned char> x = make_rows(dtype, size, n_dims, random), result(x.size());
    const auto mean = make_vector(dtype, n_dims, 0x1p-4, random), scale = make_vector(dtype, n_dims, 2, random);
    const auto direction = make_vector(dtype, n_dims, 0x1p-3, random);
    std::vector<uint8_t> status(kRows);
    const Rows in{x.data(), dtype, kRows, n_dims, n_dims, 1}, out{result.data(), dtype, kRows, n_dims, n_dims, 1};
    const Noise noises[] = {
        {0, nullptr, nullptr, 0, false, 0, 0},
        {0.125, nullptr, nullptr, 0, false, 42, 7},
        {0.125, scale.data(), nullptr, 0, false, uint64_t{1} << 40, uint64_t{1} << 33},
        {0.125, nullptr, direction.data(), 0, true, 3, 9},
        {0.125, nullptr, nullptr, 0.5, false, 3, 9},
    };
    for (const Noise& noise : noises)
        for (int kind = 0; kind < 16; ++kind) {
            const bool mapped = kind & 1, renormalize = kind & 2;
            const void *scales = mapped ? scale.data() : nullptr, *shifts = mapped ? mean.data() : nullptr;
            RowMap map{mean.data(), scales, shifts, noise, renormalize};
            map.is_raw = kind & 4;
            map.stream = kind & 8;
            kernels.transform(in, out, map, status.data(), 0, kRows);
            hash.add(result);
            hash.add(status);
        }
    std::vector<int64_t> sums(size_t(n_dims), 0), squares(size_t(n_dims), 0);
    std::vector<double> norms(kRows);
    kernels.moments(in, sums.data(), squares.data(), norms.data(), status.data(), 0, kRows);
    hash.add(sums);
    hash.add(squares);
    hash.add(norms);
    // partners of three of the dtypes
    for (int step = 0; step < 3; ++step) {
        const Dtype other = Dtype((int(dtype) + step) % 4);
        const size_t other_size = other == Dtype::kFloat64 ? 8 : other == Dtype::kFloat32 ? 4 : 2;
        std::vector<unsigned char> y = make_rows(other, other_size, n_dims, random);
        const Rows partners{y.data(), other, kRows, n_dims, n_dims, 1};
        std::vector<int64_t> totals(size_t(6 * n_dims), 0);
        std::vector<double> lengths(2 * kRows);
        std::vector<uint8_t> verdicts(2 * kRows);
        int64_t* const sum = totals.data();
        const Moments of_x{sum, sum + n_dims, lengths.data(), verdicts.data()};
        const Moments of_y{sum + 2 * n_dims, sum + 3 * n_dims, lengths.data() + kRows, verdicts.data() + kRows};
        kernels.pair_moments(in, partners, of_x, of_y, sum + 4 * n_dims, sum + 5 * n_dims, 0, kRows);
        hash.add(totals);
        hash.add(lengths);
        hash.add(verdicts);
    }
    std::vector<float> normals(size_t(kRows * n_dims));
    kernels.normals(normals.data(), n_dims, 5, 6, nullptr, 0, kRows);
    hash.add(normals);
    return hash.value;
}

}  // namespace

int main() {
    const char* const names[] = {"float32", "float64", "float16", "bfloat16"};
    for (int dtype = 0; dtype < 4; ++dtype)
        for (int64_t n_dims : {1, 3, 64, 128, 130, 512, 1000, 1024, 1025, 2049})
            printf("%s %d %016llx\n", names[dtype], int(n_dims),
                   static_cast<unsigned long long>(hash_of_kernels(C3ALIGN_KERNELS(), Dtype(dtype), n_dims)));
}
