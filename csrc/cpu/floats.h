// The floating-point control word as a program finds it at its start: nearest even, subnormals as they are.
#pragma once

#include <cstdint>

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace c3align {

// Each thread has a control word of its own, born with it, and others set it: torch.set_flush_denormal, -ffast-math in
// somebody's library, fesetround. While this lives, the thread computes as the specification does.
class UsualFloats {
  public:
    UsualFloats() : before_(read()) {
        if (unusual()) write(kUsual);
    }
    ~UsualFloats() {
        if (unusual()) write(before_);
    }
    UsualFloats(const UsualFloats&) = delete;
    UsualFloats& operator=(const UsualFloats&) = delete;

  private:
#if defined(__SSE2__) || defined(_M_X64)
    static constexpr uint64_t kUsual = 0x1F80, kRaised = 0x3F;  // exceptions masked; those that there were
    static uint64_t read() { return _mm_getcsr(); }
    static void write(uint64_t word) { _mm_setcsr(unsigned(word)); }
#elif defined(__aarch64__) && defined(__GNUC__)
    static constexpr uint64_t kUsual = 0, kRaised = 0;
    static uint64_t read() {
        uint64_t word;
        asm volatile("mrs %0, fpcr" : "=r"(word));
        return word;
    }
    static void write(uint64_t word) { asm volatile("msr fpcr, %0" : : "r"(word)); }
#else
    static constexpr uint64_t kUsual = 0, kRaised = 0;
    static uint64_t read() { return kUsual; }
    static void write(uint64_t) {}
#endif

    bool unusual() const { return (before_ & ~kRaised) != kUsual; }

    const uint64_t before_;
};

}  // namespace c3align
