// A small pool of threads over ranges of rows. No OpenMP: a second runtime beside torch's would fight with it.
#pragma once

#include <cstdint>
#include <functional>

namespace c3align {

// Calls work(first, last) on ranges that cover [0, n_rows) on up to `n_threads` threads, the caller's among them. A
// thread is worth its while for `least` rows, and takes at least so many at once while there are. Ranges are taken in no
// fixed order. An exception of one call is rethrown at the end. Threads that the system does not grant are done without,
// and floats are the usual ones on every thread.
void parallel_rows(int64_t n_rows, int64_t least, int n_threads, const std::function<void(int64_t, int64_t)>& work);

}  // namespace c3align
