#include "engine/parallel/rank_threads.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace templar {

struct RankThreads::State {
    std::function<void(int)> on_error;
    std::mutex mutex;
    std::condition_variable changed;
    const std::function<void(int)>* task = nullptr;
    int64_t turn = 0;  // of run(); every thread does each turn once
    int working = 0;
    bool ending = false;
    std::exception_ptr first_error;
    std::vector<std::jthread> threads;

    void attempt(int rank) {
        try {
            (*task)(rank);
        } catch (...) {
            {
                const std::lock_guard lock(mutex);
                if (!first_error) first_error = std::current_exception();
            }
            on_error(rank);
        }
    }

    void live(int rank) {
        for (int64_t done = 0;; ++done) {
            {
                std::unique_lock lock(mutex);
                changed.wait(lock, [&] { return turn > done || ending; });
                if (ending) return;
            }
            attempt(rank);
            const std::lock_guard lock(mutex);
            if (--working == 0) changed.notify_all();
        }
    }
};

RankThreads::RankThreads(int ranks, std::function<void(int)> on_error) : state_(std::make_unique<State>()) {
    state_->on_error = std::move(on_error);
    for (int rank = 1; rank < ranks; ++rank)
        state_->threads.emplace_back([state = state_.get(), rank] { state->live(rank); });
}

RankThreads::~RankThreads() {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
    state_->changed.notify_all();
}

void RankThreads::run(const std::function<void(int)>& task) {
    State& state = *state_;
    {
        const std::lock_guard lock(state.mutex);
        state.task = &task;
        state.first_error = nullptr;
        state.working = static_cast<int>(state.threads.size());
        ++state.turn;
        state.changed.notify_all();
    }
    state.attempt(0);
    std::unique_lock lock(state.mutex);
    state.changed.wait(lock, [&] { return state.working == 0; });
    if (state.first_error) std::rethrow_exception(state.first_error);
}

}  // namespace templar
