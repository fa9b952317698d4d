#pragma once

namespace c3align {

// Calls `restore(state)`; a thread that is ended within it waits for the end of the process instead.
void come_back(void (*restore)(void*), void* state);

}  // namespace c3align
