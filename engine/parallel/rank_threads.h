// A thread for each rank, kept for as long as the ranks work together: a GPU is bound to the thread that uses it.
#pragma once

#include <functional>
#include <memory>

namespace templar {

class RankThreads {
  public:
    // Rank 0 is the thread that calls run(), always the same one. `on_error(rank)` is called on a rank whose task
    // threw.
    RankThreads(int ranks, std::function<void(int rank)> on_error);
    ~RankThreads();

    // task(rank) on every rank's thread at the same time; returns when all are done. Rethrows the error of the rank
    // that failed first.
    void run(const std::function<void(int rank)>& task);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace templar
