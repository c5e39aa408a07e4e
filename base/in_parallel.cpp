#include "base/in_parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace templar {

void in_parallel(int64_t count, const std::function<void(int64_t)>& job, int64_t width) {
    std::vector<std::exception_ptr> errors(static_cast<size_t>(count));
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    auto work = [&] {
        while (!failed) {
            const int64_t i = next++;
            if (i >= count) return;
            try {
                job(i);
            } catch (...) {
                errors[static_cast<size_t>(i)] = std::current_exception();
                failed = true;
            }
        }
    };
    {
        std::vector<std::jthread> threads;
        try {
            for (int64_t i = 1; i < std::min(count, width); ++i) threads.emplace_back(work);
        } catch (const std::system_error&) {
            // No more threads to be had: those there are do it all.
        }
        work();
    }
    for (const std::exception_ptr& error : errors)
        if (error) std::rethrow_exception(error);
}

}  // namespace templar
