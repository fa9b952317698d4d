// The CPU kernels as the bindings see them: one table of functions for each instruction set.
#pragma once

#include "../core/row.h"

namespace c3align {

enum class Dtype : int { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };

// Strides count elements and may be zero or negative.
struct Rows {
    void* data;
    Dtype dtype;
    int64_t n_rows, n_dims, row_stride, column_stride;
};

// What is added to a mapped row, see `Noise` in c3align/ops/reference.py: normals times `columns`, less their part
// along `direction`, times sigma or up to norm `radius`, times a uniform number. None when sigma is 0.
struct Noise {
    double sigma;
    const void* columns;
    const void* direction;
    double radius;
    bool random_strength;
    uint64_t seed, row_offset;
    const uint64_t* row_ids = nullptr;   // a number for each row, in place of row_offset and those that follow it
    const int64_t* first_row = nullptr;  // on a device, added to row_offset, so that a recorded graph can go on

    // of a row in the stream
    C3_HD uint64_t number(int64_t index) const {
        return row_ids ? row_ids[index] : row_offset + uint64_t(first_row ? *first_row : 0) + uint64_t(index);
    }
    // whether more than sigma * normals is asked for
    C3_HD bool shaped() const { return columns || direction || radius != 0 || random_strength; }
};

// What becomes of a unit row: (u - mean) * scale + shift, then noise, then back to unit norm.
// Vectors are (n_dims,) float64 when the rows are, float32 otherwise; absent ones are null.
struct RowMap {
    const void* mean;
    const void* scale;
    const void* shift;
    Noise noise;
    bool renormalize;
    bool stream;           // write past the caches
    bool writes = true;    // or only says what is wrong with each row
    double at_mean = 0.0;  // up to this norm a centred row has no direction; 0 where none is asked for its norm
};

// Each works on rows first to last, and may run on several ranges at once; `moments` adds to its sums, which no
// other range may share.
struct Kernels {
    const char* isa;
    void (*transform)(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, int64_t first, int64_t last);
    void (*moments)(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status, int64_t first,
                    int64_t last);
    void (*normals)(float* out, int64_t n_dims, uint64_t seed, uint64_t row_offset, const uint64_t* row_ids,
                    int64_t first, int64_t last);
    void (*copy)(void* target, const void* source, size_t n_bytes);  // the floor that benchmarks measure
};

const Kernels& portable_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512_zen4_kernels();  // AVX-512 with narrower sums, for processors that do its work in halves

}  // namespace c3align
