// A thread that comes back to a Python which shuts down is ended by the C library, which runs the handlers that
// `pthread_cleanup_push` noted. In C that is a jump; in C++ it would be an exception that unwinds the stack, which this
// library's runtime and the C library's must agree about: hence the form of C here.
#undef __EXCEPTIONS
#include "come_back.h"

#ifdef _WIN32

void c3align::come_back(void (*restore)(void*), void* state) { restore(state); }

#else

#include <pthread.h>
#include <unistd.h>

namespace {
void stay(void*) {
    for (;;) pause();
}
}  // namespace

void c3align::come_back(void (*restore)(void*), void* state) {
    pthread_cleanup_push(stay, nullptr);
    restore(state);
    pthread_cleanup_pop(0);
}

#endif
