#include "pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace c3align {
namespace {

class Pool {
  public:
    // One job at a time: a caller who finds the pool busy works alone.
    bool try_run(int n_workers, const std::function<void()>& job) {
        std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
        if (!busy.owns_lock()) return false;
        while (int(threads_.size()) < n_workers) threads_.emplace_back([this] { serve(); });
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            wanted_ = n_workers;
        }
        wake_.notify_all();
        job();
        std::unique_lock<std::mutex> lock(mutex_);
        wanted_ = 0;  // who has not begun need not
        done_.wait(lock, [this] { return running_ == 0; });
        job_ = nullptr;
        return true;
    }

  private:
    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return wanted_ > 0; });
            --wanted_;
            ++running_;
            const std::function<void()>* job = job_;
            lock.unlock();
            (*job)();
            lock.lock();
            if (--running_ == 0) done_.notify_one();
        }
    }

    std::mutex busy_, mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> threads_;
    const std::function<void()>* job_ = nullptr;
    int wanted_ = 0, running_ = 0;
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

}  // namespace

void parallel_rows(int64_t n_rows, int64_t rows_at_once, int n_threads,
                   const std::function<void(int64_t, int64_t)>& work) {
    const int64_t n_ranges = (n_rows + rows_at_once - 1) / rows_at_once;
    n_threads = int(std::min<int64_t>(n_threads, n_ranges));
    if (n_threads <= 1) {
        if (n_rows > 0) work(0, n_rows);
        return;
    }
    std::atomic<int64_t> next{0};
    std::exception_ptr failure;
    std::mutex failing;
    const std::function<void()> job = [&] {
        try {
            for (int64_t range; (range = next.fetch_add(1)) < n_ranges;)
                work(range * rows_at_once, std::min((range + 1) * rows_at_once, n_rows));
        } catch (...) {
            std::lock_guard<std::mutex> lock(failing);
            failure = std::current_exception();
        }
    };
    if (!pool().try_run(n_threads - 1, job)) job();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace c3align
