// One request to a kernel: rows, and what becomes of each of them.
#pragma once

#include "row.h"

namespace c3align {

enum class Dtype : int { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };

// Strides count elements and may be zero or negative.
struct Rows {
    void* data;
    Dtype dtype;
    int64_t n_rows, n_dims, row_stride, column_stride;
};

// What is added to a mapped row, see `Noise` in c3align/ops/rowmap.py: normals times `columns`, less their part
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

// What becomes of a row, see `RowMap` in c3align/ops/rowmap.py: its unit row u (itself where it is raw),
// (u - mean) * scale + shift, then noise, then back to norm 1, then around `goal`, then times `norm`.
// Vectors are (n_dims,) float64 when the rows are, float32 otherwise; absent ones are null.
struct RowMap {
    const void* mean;
    const void* scale;
    const void* shift;
    Noise noise;
    bool renormalize;
    bool is_raw = false;
    const void* goal = nullptr;
    double norm = 1.0;
    bool stream = false;   // write past the caches
    bool writes = true;    // or only says what is wrong with each row
    double at_mean = 0.0;  // up to this norm a centred row has no direction; 0 where none is asked for its norm
};

}  // namespace c3align
