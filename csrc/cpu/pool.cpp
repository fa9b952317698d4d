#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "floats.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace c3align {
namespace {

using Work = std::function<void(int64_t, int64_t)>;

// in seconds: what a call of Python's face takes beside its kernel, so that calls in a loop find the workers awake; work
// left that is worth waking somebody for, over twice what passes until a sleeper is at work; and where calls follow each
// other, so that the next ones find it awake
constexpr double kAwake = 150e-6, kWorthWaking = 120e-6, kWorthWakingInLoop = 20e-6;
// what workers cost is one part in so many of all time, at most; neither luck nor what stopped us may come again
constexpr double kPatience = 64, kMostDebt = 10e-3, kMostCredit = 1e-3;
constexpr int64_t kMost = 8;  // times the least rows that a thread takes at once
constexpr int kCallsUntilAskedAgain = 1000;

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline void relax() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    asm volatile("yield");
#endif
}

// Looks for as long as `kAwake`: calls in a loop find the workers awake, and an idle process has none that spin.
// Whoever shares the processor gets a turn now and then: it may be the thread that is waited for.
template <typename Ready>
bool spin_until(Ready ready) {
    const double end = seconds() + kAwake;
    do {
        for (int look = 0; look < 16; ++look) {
            if (ready()) return true;
            relax();
        }
        std::this_thread::yield();
    } while (seconds() < end);
    return ready();
}

// Rows that one thread begins with, and others take from when theirs are done; on a cache line of its own.
struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;

    // The next rows: `part` of what is left, and `least` to `most` where there are so many.
    bool take(double part, int64_t least, int64_t most, int64_t* first, int64_t* last) {
        int64_t seen = next.load();
        do {
            if (seen >= end) return false;
            const int64_t n_rows = std::max(least, std::min(most, int64_t(part * double(end - seen))));
            *last = std::min(end, seen + n_rows);
        } while (!next.compare_exchange_weak(seen, *last));
        *first = seen;
        return true;
    }
};

// One call's rows on their way through the threads.
class Call {
  public:
    // Each thread has a share of its own, which its caches may still hold from the last call.
    Call(int64_t n_rows, int64_t least, int n_threads, const Work& work)
        : n_rows_(n_rows), least_(least), shares_(size_t(n_threads)), work_(work) {
        for (int t = 0; t < n_threads; ++t) {
            shares_[size_t(t)].next.store(n_rows * t / n_threads);
            shares_[size_t(t)].end = n_rows * (t + 1) / n_threads;
        }
    }

    int64_t n_rows() const { return n_rows_; }
    int n_threads() const { return int(shares_.size()); }

    // Works until no rows are left, on its own share in few ranges, on others' in halves: nobody is waited for long.
    // `goes_on_alone` is told after each range how many rows it had, and says whether nobody else will come.
    template <typename GoesOnAlone>
    void run(int thread, GoesOnAlone goes_on_alone) {
        int64_t least = least_;
        try {
            for (int k = 0; k < n_threads(); ++k) {
                Share& share = shares_[size_t((thread + k) % n_threads())];
                for (int64_t first, last; share.take(k ? 0.5 : 0.75, least, kMost * least_, &first, &last);) {
                    work_(first, last);
                    if (goes_on_alone(last - first)) least = n_rows_;
                }
            }
        } catch (...) {
            std::lock_guard<std::mutex> lock(failing_);
            failure_ = std::current_exception();
        }
    }

    void rethrow() const {
        if (failure_) std::rethrow_exception(failure_);
    }

  private:
    const int64_t n_rows_, least_;
    std::vector<Share> shares_;
    const Work& work_;
    std::mutex failing_;
    std::exception_ptr failure_;
};

// The threads. The caller begins alone and could do everything: workers that are awake join in, those that sleep are
// woken when enough is left, and who has not begun when nothing is left is not waited for.
class Pool {
  public:
    // One call at a time: false when another is under way, and nothing done.
    bool try_run(Call& call, const Work& work) {
        if (busy_.exchange(true)) return false;
        const Freeing freeing{busy_};
        const double begin = seconds();
        if (debt_ > 0) {
            work(0, call.n_rows());
            debt_ -= (seconds() - begin) / kPatience;
        } else {
            start(call.n_threads() - 1);
            run(call, begin, begin - ended_ < kAwake ? kWorthWakingInLoop : kWorthWaking);
        }
        ended_ = seconds();
        return true;
    }

  private:
    struct Freeing {
        std::atomic<bool>& busy;
        ~Freeing() { busy.store(false); }
    };

    // Threads keep the control word of the one that starts them, which has the usual floats here. What the system does
    // not grant is asked for again later, not in each call.
    void start(int n_workers) {
        if (calls_to_pass_ > 0 && --calls_to_pass_ > 0) return;
        try {
            for (; n_started_ < n_workers; ++n_started_) std::thread([this] { serve(); }).detach();
        } catch (const std::system_error&) {
            calls_to_pass_ = kCallsUntilAskedAgain;
        }
    }

    void run(Call& call, double begin, double worth_waking) {
        call_ = &call;
        joined_.store(0);
        places_.store(uint64_t(std::min(n_started_, call.n_threads() - 1)) * kWanted);
        bool woken = false;
        double n_done = 0, worked = 0, waking = 0;
        call.run(0, [&](int64_t n_rows) {
            n_done += double(n_rows);
            worked = seconds() - begin - waking;
            if (woken || asleep_.load() == 0) return false;
            if (worked * (double(call.n_rows()) - n_done) < worth_waking * n_done) return asleep_.load() == n_started_;
            woken = true;
            wake();
            waking = seconds() - begin - worked;
            return false;
        });
        places_.fetch_and(kWanted - 1);  // who has not begun need not
        wait();
        const double took = seconds() - begin - waking;
        if (joined_.load() > 0 && n_done > 0) settle(took - worked / n_done * double(call.n_rows()));
        else if (!woken && asleep_.load() < n_started_) settle(took / 4);  // awake, and yet without a processor
    }

    // A worker that lost its processor over its rows may have cost more than it and others before it did for us. What
    // waking takes is not counted: it is for the calls to come.
    void settle(double lost) { debt_ = std::min(kMostDebt, std::max(debt_ + lost, -kMostCredit)); }

    void wake() {
        const int n_wanted = int(places_.load() / kWanted);
        { std::lock_guard<std::mutex> lock(mutex_); }  // whoever has seen nothing yet sleeps by now
        if (n_wanted >= asleep_.load()) return wake_.notify_all();
        for (int k = 0; k < n_wanted; ++k) wake_.notify_one();
    }

    void wait() {
        const auto all_done = [this] { return places_.load() == 0; };
        if (spin_until(all_done)) return;
        std::unique_lock<std::mutex> lock(mutex_);
        caller_asleep_.store(true);
        done_.wait(lock, all_done);
        caller_asleep_.store(false);
    }

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
            call_->run(1 + joined_.fetch_add(1), [](int64_t) { return false; });
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
    std::atomic<bool> busy_{false}, caller_asleep_{false};
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    Call* call_ = nullptr;
    // what follows belongs to the call that made the pool busy
    int n_started_ = 0, calls_to_pass_ = 0;
    double ended_ = 0;  // when the last call did
    double debt_ = 0;   // seconds lost by waiting for workers less those won, which calls without them pay back
};

// Never destroyed: its threads sleep until the process ends. A forked child has the pool's memory, maybe in the middle
// of something, and none of its threads: it makes a new one there before anything else runs.
alignas(Pool) unsigned char g_memory[sizeof(Pool)];
Pool* g_pool = new (g_memory) Pool;
#if !defined(_WIN32)
const int g_at_fork = pthread_atfork(nullptr, nullptr, [] { g_pool = new (g_memory) Pool; });
#endif

}  // namespace

void parallel_rows(int64_t n_rows, int64_t least, int n_threads, const Work& work) {
    const UsualFloats floats;
    n_threads = int(std::min<int64_t>(n_threads, n_rows / least));
    if (n_threads > 1) {
        Call call(n_rows, least, n_threads, work);
        if (g_pool->try_run(call, work)) return call.rethrow();
    }
    if (n_rows > 0) work(0, n_rows);
}

}  // namespace c3align
