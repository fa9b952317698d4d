// Rows in memory: read in the type they are computed in, written in the type they are stored in.
#pragma once

#include <new>
#include <type_traits>

#include "../core/half.h"
#include "kernels.h"
#include "simd.h"

namespace c3align {
namespace {

// Not std::vector: its members would be shared symbols compiled with one instruction set, and the linker might hand
// them to the portable build.
template <typename T>
class Buffer {
  public:
    explicit Buffer(int64_t size)
        : data(static_cast<T*>(operator new[](size_t(size) * sizeof(T), kAlignment))), size_(size) {
        clear();
    }
    ~Buffer() { operator delete[](static_cast<void*>(data), kAlignment); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void clear() { memset(static_cast<void*>(data), 0, size_t(size_) * sizeof(T)); }

    T* const data;

  private:
    const int64_t size_;
    static constexpr std::align_val_t kAlignment{64};
};

// Rows in the type they are computed in, zero beyond n_dims, which is exact in every sum. Rows that are stored that
// way already are read where they are.
template <typename Stored, typename T>
class Reader {
  public:
    explicit Reader(const Rows& rows)
        : rows_(rows), padded(padded_to_slots(rows.n_dims)), buffer_(padded) {}

    const T* row(int64_t index) const {
        const Stored* source = static_cast<const Stored*>(rows_.data) + index * rows_.row_stride;
        if (rows_.column_stride != 1) {
            for (int64_t j = 0; j < rows_.n_dims; ++j) buffer_.data[j] = widen(source[j * rows_.column_stride]);
            return buffer_.data;
        }
        if (in_place()) return reinterpret_cast<const T*>(source);
        for (int64_t j = 0; j < rows_.n_dims; ++j) buffer_.data[j] = widen(source[j]);
        return buffer_.data;
    }

    bool in_place() const {
        return sizeof(Stored) == sizeof(T) && padded == rows_.n_dims && rows_.column_stride == 1;
    }

  private:
    const Rows& rows_;

  public:
    const int64_t padded;

  private:
    Buffer<T> buffer_;
};

template <typename Stored, typename T>
class Writer {
  public:
    Writer(const Rows& rows, bool stream) : rows_(rows), stream_(stream), scratch_(rows.n_dims) {}
    ~Writer() {
        if (stream_) finish_streams();
    }

    void write(const T* row, T factor, int64_t index) const {
        Stored* target = at(index);
        const bool apart = rows_.column_stride != 1;
        if (stream_ && !apart && std::is_same<Stored, float>::value)
            return stream_scaled(reinterpret_cast<float*>(target), reinterpret_cast<const float*>(row), float(factor),
                                 rows_.n_dims);
        Stored* out = stream_ || apart ? scratch_.data : target;
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

  private:
    Stored* at(int64_t index) const { return static_cast<Stored*>(rows_.data) + index * rows_.row_stride; }

    const Rows& rows_;
    const bool stream_;
    Buffer<Stored> scratch_;
};

}  // namespace
}  // namespace c3align
