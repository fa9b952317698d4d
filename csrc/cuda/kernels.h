// The CUDA kernels as the bindings see them. All pointers are device memory; calls return when the work is queued on
// `stream`, allocate nothing and never wait, so that a CUDA graph can record them.
#pragma once

#include "../core/row_map.h"

namespace c3align {

// Errors of the launch, as text; null when there is none. A status is written for each row; the bits `Flag` of what was
// wrong with any are added to `flag`, where there is one.
const char* cuda_transform(const Rows& in, const Rows& out, const RowMap& map, uint8_t* status, uint32_t* flag,
                           void* stream);
// Adds to `totals`: n_dims sums of unit rows, as many of their squares, the kNormBins bins of the norms, and the number
// of usable rows.
const char* cuda_moments(const Rows& in, int64_t* totals, uint8_t* status, void* stream);
const char* cuda_normals(float* out, int64_t n_rows, int64_t n_dims, uint64_t seed, uint64_t row_offset, void* stream);

// Number of devices that a driver offers; 0 without a driver or with one too old.
int cuda_device_count();

constexpr int64_t kMaxCudaDims = 8192;

}  // namespace c3align
