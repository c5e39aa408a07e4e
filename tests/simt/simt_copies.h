// Copies that run beside the thread that started them (cp.async; kernels/cuda/memory.h has the wrappers).
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

namespace simt {

// Those of one thread. The hardware may carry a copy out at any time between its start and the wait for its group. Here
// it happens in the wait, which finds a read that nobody waited for; or at once, which finds a copy over what others
// still read: that under Schedule::reversed, and for half of the threads under Schedule::random, where warps drift
// apart.
class PendingCopies {
  public:
    struct Copy {
        void* to;
        const void* from;  // null: zeros
        std::size_t bytes;
    };
    // For the next thread.
    void start(bool at_once) { at_once_ = at_once; }
    bool none() const { return open_.empty() && groups_.empty(); }
    void add(Copy copy) {
        if (at_once_) run(copy);
        open_.push_back(copy);
    }
    void commit() {
        groups_.push_back(std::move(open_));
        open_.clear();
    }
    // Until at most `pending` groups, the newest, are on their way.
    void wait(std::size_t pending) {
        while (groups_.size() > pending) {
            if (!at_once_)
                for (const Copy& copy : groups_.front()) run(copy);
            groups_.erase(groups_.begin());
        }
    }

  private:
    static void run(const Copy& copy) {
        if (copy.from)
            std::memcpy(copy.to, copy.from, copy.bytes);
        else
            std::memset(copy.to, 0, copy.bytes);
    }
    bool at_once_ = false;
    std::vector<Copy> open_;
    std::vector<std::vector<Copy>> groups_;
};

}  // namespace simt
