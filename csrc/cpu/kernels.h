// The CPU kernels as the bindings see them: one table of functions for each instruction set.
#pragma once

#include "../core/row_map.h"

namespace c3align {

// What is found of rows: sums of columns, which are added to, and a norm and a status for each row.
struct Moments {
    int64_t *sums, *squares;
    double* norms;
    uint8_t* status;
};

// Each works on rows first to last, and may run on several ranges at once; `moments` and `pair_moments` add to their
// sums, which no other range may share.
struct Kernels {
    const char* isa;
    void (*transform)(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, int64_t first, int64_t last);
    void (*moments)(const Rows& in, int64_t* sums, int64_t* squares, double* norms, uint8_t* status, int64_t first,
                    int64_t last);
    void (*pair_moments)(const Rows& x, const Rows& y, const Moments& of_x, const Moments& of_y, int64_t* sums,
                         int64_t* squares, int64_t first, int64_t last);
    void (*normals)(float* out, int64_t n_dims, uint64_t seed, uint64_t row_offset, const uint64_t* row_ids,
                    int64_t first, int64_t last);
    void (*copy)(void* target, const void* source, size_t n_bytes);  // the floor that benchmarks measure
};

const Kernels& portable_kernels();
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512_zen4_kernels();  // AVX-512 with narrower sums, for processors that do its work in halves

}  // namespace c3align
