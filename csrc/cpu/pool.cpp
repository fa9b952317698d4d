#include "pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace c3align {
namespace {

inline void relax() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    asm volatile("yield");
#endif
}

// Looks for up to some fifty microseconds, which is less than falling asleep and being woken costs: calls in a loop
// find the workers awake, and an idle process has none that spin. Whoever shares the processor gets a turn now and
// then: it may be the thread that is waited for.
template <typename Ready>
bool spin_until(Ready ready) {
    constexpr int kTurns = 64, kLooks = 32;
    for (int turn = 0; turn < kTurns; ++turn) {
        for (int look = 0; look < kLooks; ++look) {
            if (ready()) return true;
            relax();
        }
        std::this_thread::yield();
    }
    return ready();
}

class Pool {
  public:
    // Calls the job with 0 here and with 1, 2, ... in workers, of which some may come too late. One job at a time: a
    // caller who finds the pool busy works alone.
    bool try_run(int n_workers, const std::function<void(int)>& job) {
        std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
        if (!busy.owns_lock()) return false;
        while (int(threads_.size()) < n_workers) threads_.emplace_back([this] { serve(); });
        job_ = &job;
        joined_.store(0);
        places_.store(uint64_t(n_workers) * kWanted);
        if (asleep_.load() > 0) {
            std::lock_guard<std::mutex> lock(mutex_);
            wake_.notify_all();
        }
        job(0);
        places_.fetch_and(kWanted - 1);  // who has not begun need not
        const auto all_done = [this] { return places_.load() == 0; };
        if (!spin_until(all_done)) {
            std::unique_lock<std::mutex> lock(mutex_);
            caller_asleep_.store(true);
            done_.wait(lock, all_done);
            caller_asleep_.store(false);
        }
        return true;
    }

  private:
    void serve() {
        const auto is_wanted = [this] { return places_.load() >= kWanted; };
        for (;;) {
            if (!spin_until(is_wanted)) {
                std::unique_lock<std::mutex> lock(mutex_);
                asleep_.fetch_add(1);
                wake_.wait(lock, is_wanted);
                asleep_.fetch_sub(1);
            }
            uint64_t seen = places_.load();
            while (seen >= kWanted && !places_.compare_exchange_weak(seen, seen - kWanted + 1)) {
            }
            if (seen < kWanted) continue;  // others were quicker
            (*job_)(1 + joined_.fetch_add(1));
            if (places_.fetch_sub(1) == 1 && caller_asleep_.load()) {
                std::lock_guard<std::mutex> lock(mutex_);
                done_.notify_one();
            }
        }
    }

    // How many are still wanted, above, and how many are at work, below: both change at once. Who goes to sleep says so
    // before the last look, and who has news looks for sleepers after it is told (all in one total order).
    static constexpr uint64_t kWanted = uint64_t{1} << 32;
    std::atomic<uint64_t> places_{0};
    std::atomic<int> asleep_{0}, joined_{0};
    std::atomic<bool> caller_asleep_{false};
    std::mutex busy_, mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> threads_;
    const std::function<void(int)>* job_ = nullptr;
};

// Never destroyed: its threads sleep until the process ends. A forked child has the pool's memory and none of its
// threads: it starts another, and leaves the old one as it is.
Pool& pool() {
    static std::mutex making;
    static Pool* current = nullptr;
#if !defined(_WIN32)
    static pid_t owner = 0;
    std::lock_guard<std::mutex> lock(making);
    if (owner != getpid()) {
        current = new Pool;
        owner = getpid();
    }
#else
    std::lock_guard<std::mutex> lock(making);
    if (!current) current = new Pool;
#endif
    return *current;
}

// Ranges of rows that are still to be taken, on a cache line of its own.
struct alignas(64) Part {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
};

}  // namespace

void parallel_rows(int64_t n_rows, int64_t rows_at_once, int n_threads,
                   const std::function<void(int64_t, int64_t)>& work) {
    const int64_t n_ranges = (n_rows + rows_at_once - 1) / rows_at_once;
    n_threads = int(std::min<int64_t>(n_threads, n_ranges));
    if (n_threads <= 1) {
        if (n_rows > 0) work(0, n_rows);
        return;
    }
    // Each thread has a part of its own, which its caches may still hold from the last call, and then helps the others.
    std::vector<Part> parts(static_cast<size_t>(n_threads));
    for (int t = 0; t < n_threads; ++t) {
        parts[size_t(t)].next.store(n_ranges * t / n_threads);
        parts[size_t(t)].end = n_ranges * (t + 1) / n_threads;
    }
    std::exception_ptr failure;
    std::mutex failing;
    const std::function<void(int)> job = [&](int thread) {
        try {
            for (int k = 0; k < n_threads; ++k) {
                Part& part = parts[size_t((thread + k) % n_threads)];
                for (int64_t range; (range = part.next.fetch_add(1)) < part.end;)
                    work(range * rows_at_once, std::min((range + 1) * rows_at_once, n_rows));
            }
        } catch (...) {
            std::lock_guard<std::mutex> lock(failing);
            failure = std::current_exception();
        }
    };
    if (!pool().try_run(n_threads - 1, job)) job(0);
    if (failure) std::rethrow_exception(failure);
}

}  // namespace c3align
