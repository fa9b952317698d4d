// Rows in memory: read in the type they are computed in, written in the type they are stored in.
#pragma once

#include <type_traits>

#include "../core/half.h"
#include "kernels.h"
#include "scratch.h"
#include "simd.h"

namespace c3align {
namespace {

// Numbers side by side, from the type they are stored in.
template <typename Stored, typename T>
void widen_all(const Stored* from, T* to, int64_t n) {
    int64_t j = 0;
#if defined(__AVX512F__)  // which has an instruction for it, with the bits of `widen` but for NaNs that signal
    if constexpr (std::is_same<Stored, Half>::value && std::is_same<T, float>::value)
        for (; j + 16 <= n; j += 16) {
            __m256i halves;
            memcpy(&halves, from + j, sizeof halves);
            store(to + j, Vector::F(_mm512_cvtph_ps(halves)));
        }
#endif
    for (; j < n; ++j) to[j] = widen(from[j]);
}

// Rows in the type they are computed in, zero beyond n_dims, which is exact in every sum. Rows that are stored that
// way already are read where they are; of others `kKept` neighbours are kept.
template <typename Stored, typename T, int kKept>
class Reader {
  public:
    static constexpr int kArrays = kKept;

    Reader(const Rows& rows, Scratch& scratch)
        : padded(padded_to_slots(rows.n_dims)),
          rows_(rows),
          kept_(in_place() ? nullptr : scratch.take<T>(kKept * padded)) {
        if (kept_) memset(kept_, 0, size_t(kKept * padded) * sizeof(T));
    }

    bool in_place() const {
        return sizeof(Stored) == sizeof(T) && padded == rows_.n_dims && rows_.column_stride == 1;
    }

    // Where a row is once it is read, and how far from it the next one.
    const T* place(int64_t index) const {
        return in_place() ? reinterpret_cast<const T*>(source(index)) : kept(index);
    }
    int64_t stride() const { return in_place() ? rows_.row_stride : padded; }

    const T* row(int64_t index) const {
        if (in_place()) return place(index);
        const Stored* from = source(index);
        T* const row = kept(index);
        if (rows_.column_stride == 1)
            widen_all(from, row, rows_.n_dims);
        else
            for (int64_t j = 0; j < rows_.n_dims; ++j) row[j] = widen(from[j * rows_.column_stride]);
        return row;
    }

    const int64_t padded;

  private:
    T* kept(int64_t index) const { return kept_ + index % kKept * padded; }
    const Stored* source(int64_t index) const {
        return static_cast<const Stored*>(rows_.data) + index * rows_.row_stride;
    }

    const Rows& rows_;
    T* const kept_;
};

// The two rows that are mapped and not yet written, each half-way between where it is read and where it is written.
template <typename T>
class MappedRows {
  public:
    static constexpr int kArrays = 2, kPlaced = 2;

    MappedRows(int64_t padded, Scratch& scratch) : slots_{slot(padded, scratch), slot(padded, scratch)} {}

    T* row(int64_t index, const T* x, const void* out) const {
        const int64_t middle = kPage / 2 + page_distance(x, out) / 2;
        return reinterpret_cast<T*>(first_place(slots_[index % 2], x, middle));
    }

  private:
    static char* slot(int64_t padded, Scratch& scratch) {
        return scratch.take<char>(padded * int64_t(sizeof(T)) + kPage);
    }

    char* const slots_[2];
};

template <typename Stored, typename T>
class Writer {
  public:
    static constexpr int kArrays = 1;

    Writer(const Rows& rows, bool stream, Scratch& scratch)
        : rows_(rows), stream_(stream), narrowed_(scratch.take<Stored>(rows.n_dims)) {}
    ~Writer() {
        if (stream_) finish_streams();
    }

    void write(const T* row, T factor, int64_t index) const {
        Stored* target = at(index);
        const bool apart = rows_.column_stride != 1;
        if (stream_ && !apart && std::is_same<Stored, float>::value)
            return stream_scaled(reinterpret_cast<float*>(target), reinterpret_cast<const float*>(row), float(factor),
                                 rows_.n_dims);
        Stored* out = stream_ || apart ? narrowed_ : target;
        for (int64_t j = 0; j < rows_.n_dims; ++j) narrow(row[j] * factor, out[j]);
        if (apart)
            for (int64_t j = 0; j < rows_.n_dims; ++j) target[j * rows_.column_stride] = out[j];
        else if (stream_)
            stream_copy(target, out, size_t(rows_.n_dims) * sizeof(Stored));
    }

    void write_zeros(int64_t index) const {
        Stored* target = at(index);
        for (int64_t j = 0; j < rows_.n_dims; ++j) target[j * rows_.column_stride] = Stored{};
    }

    Stored* at(int64_t index) const { return static_cast<Stored*>(rows_.data) + index * rows_.row_stride; }

  private:
    const Rows& rows_;
    const bool stream_;
    Stored* const narrowed_;
};

}  // namespace
}  // namespace c3align
