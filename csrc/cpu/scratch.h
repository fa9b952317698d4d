// Working memory of one call: one allocation, and a place in it for each array.
//
// A load is first compared with the stores before it by the low 12 bits of their addresses, and where those agree it
// waits until the store is done. A loop that stores to one array and loads, a little ahead, from another takes 1.7
// times as long where the arrays lie so. Hence what is written in a loop is placed about half a page from what is read
// in it.
#pragma once

#include <cstdint>
#include <new>

namespace c3align {
namespace {

constexpr int64_t kPage = 4096, kLine = 64;

// The number of bytes from `from` to `to`, give or take whole pages: -2048 to 2047.
inline int64_t page_distance(const void* from, const void* to) {
    return ((reinterpret_cast<intptr_t>(to) - reinterpret_cast<intptr_t>(from) + kPage / 2) & (kPage - 1)) - kPage / 2;
}

// The first line from `memory` on that lies in its page where `place` does, or so many bytes further.
inline char* first_place(char* memory, const void* place, int64_t n_bytes) {
    const intptr_t distance = reinterpret_cast<intptr_t>(place) + n_bytes - reinterpret_cast<intptr_t>(memory);
    return memory + (distance & (kPage - 1) & -kLine);
}

// Not std::vector, nor anything else of the library that is a template: such functions would be shared symbols compiled
// with one instruction set, and the linker might hand them to the portable build.
class Scratch {
  public:
    // `n_bytes` for all arrays, of which `n_placed` ask for a place
    Scratch(int64_t n_bytes, int n_placed)
        : memory_(static_cast<char*>(operator new[](size_t(n_bytes + n_placed * kPage), std::align_val_t(kLine)))),
          free_(memory_) {}
    ~Scratch() { operator delete[](memory_, std::align_val_t(kLine)); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    template <typename T>
    T* take(int64_t n) {
        T* array = reinterpret_cast<T*>(free_);
        free_ += (n * int64_t(sizeof(T)) + kLine - 1) & -kLine;
        return array;
    }

    template <typename T>
    T* take(int64_t n, const void* place, int64_t n_bytes) {
        free_ = first_place(free_, place, n_bytes);
        return take<T>(n);
    }

  private:
    char* const memory_;
    char* free_;
};

}  // namespace
}  // namespace c3align
