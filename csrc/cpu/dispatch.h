// Which build of the CPU kernels runs here.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace c3align {

// Instruction sets that this build has and this machine can run, best last.
std::vector<std::string> isas();

const Kernels& kernels_named(const std::string& isa);

// Rows that a thread takes at least: some microseconds' work, of which to begin takes less than a tenth.
inline int64_t rows_at_once(int64_t n_dims) { return n_dims < 8192 ? 8192 / n_dims : 1; }

}  // namespace c3align
