#include "dispatch.h"

#include <stdexcept>
#include <utility>
#if defined(C3ALIGN_X86_KERNELS)
#include <cpuid.h>
#endif

namespace c3align {
namespace {

#if defined(C3ALIGN_X86_KERNELS)
// AMD's family 19h, of which Zen 4 alone has AVX-512.
bool is_zen4() {
    unsigned highest = 0, b = 0, c = 0, d = 0, version = 0;
    if (!__get_cpuid(0, &highest, &b, &c, &d) || c != signature_AMD_ecx) return false;
    if (!__get_cpuid(1, &version, &b, &c, &d)) return false;
    return (version >> 8 & 0xF) + (version >> 20 & 0xFF) == 0x19;
}
#endif

// Best last.
std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> found{&portable_kernels()};
#if defined(C3ALIGN_X86_KERNELS)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2) found.push_back(&avx2_kernels());
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        found.insert(found.end(), {&avx512_zen4_kernels(), &avx512_kernels()});
        if (is_zen4()) std::swap(found.back(), found[found.size() - 2]);
    }
#endif
    return found;
}

// Made at import: a static in a function has a lock, which a fork may leave held for good.
const std::vector<const Kernels*> g_kernels = available_kernels();

}  // namespace

const Kernels& kernels_named(const std::string& isa) {
    for (const Kernels* kernels : g_kernels)
        if (isa == kernels->isa) return *kernels;
    throw std::invalid_argument("this machine or build has no kernels named " + isa);
}

std::vector<std::string> isas() {
    std::vector<std::string> names;
    for (const Kernels* kernels : g_kernels) names.push_back(kernels->isa);
    return names;
}

}  // namespace c3align
