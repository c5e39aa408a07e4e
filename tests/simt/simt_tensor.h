// Instructions that a whole warp runs as one (matrix products, matrix loads), and copies that arrive late.
#pragma once

#include "simt.h"

#include <array>
#include <vector>

namespace simt {

// Every lane brings its operands. One of them runs `run(lanes)` on those of all 32 while the others wait, so that it may write
// their results; no lane goes on before.
template <class Operands, class Run>
void warp_together(Operands& mine, Run run) {
    std::array<Operands*, 32> lanes;
    const std::uint64_t* slots = collective(~0u, reinterpret_cast<std::uint64_t>(&mine));
    for (int i = 0; i < 32; ++i) lanes[static_cast<std::size_t>(i)] = reinterpret_cast<Operands*>(slots[i]);
    if (lane() == 0) run(lanes);
    collective(~0u, 0);
}

// Asynchronous copies of one thread. The hardware may carry one out at any time between its start and the wait for its group.
// Here it happens at once under Schedule::reversed (which finds a copy into what others still read) and in the wait under the
// others (which finds a read that nobody waited for).
class PendingCopies {
  public:
    struct Copy {
        void* to;
        const void* from;  // null: zeros
        std::size_t bytes;
    };
    void add(Copy copy) {
        if (schedule == Schedule::reversed) run(copy);
        else open_.push_back(copy);
    }
    void commit() {
        groups_.push_back(std::move(open_));
        open_.clear();
    }
    void wait_until_pending(std::size_t groups) {
        while (groups_.size() > groups) {
            for (const Copy& copy : groups_.front()) run(copy);
            groups_.pop_front();
        }
    }

  private:
    static void run(const Copy& copy) {
        if (copy.from) std::memcpy(copy.to, copy.from, copy.bytes);
        else std::memset(copy.to, 0, copy.bytes);
    }
    std::vector<Copy> open_;
    std::deque<std::vector<Copy>> groups_;
};

// Those of the running thread. A kernel has to wait for all its copies before it ends.
inline PendingCopies& pending_copies() {
    static thread_local std::array<PendingCopies, 1024> of_thread;
    return of_thread[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
}

}  // namespace simt
