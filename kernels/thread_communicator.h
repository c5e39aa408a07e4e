// Communicator for ranks that share their memory; also the host's side of the one for GPUs.
#pragma once

#include "kernels/communicator.h"

#include <condition_variable>
#include <mutex>

namespace templar {

// Where the ranks' threads meet.
class Meeting {
  public:
    explicit Meeting(int size)
        : size_(size), values_(static_cast<size_t>(size)), parts_(static_cast<size_t>(size)) {}

    // Returns when all ranks have come; what they wrote before is then seen by all. Throws Error(device) once
    // one gave up.
    void meet();
    void give_up(int rank) noexcept;

    int size() const { return size_; }
    // What each rank brought to this call: a rank writes its own before meet() and reads the others' until
    // the next.
    std::span<double>& values(int rank) { return values_[static_cast<size_t>(rank)]; }
    std::span<const Communicator::Part>& parts(int rank) { return parts_[static_cast<size_t>(rank)]; }

  private:
    const int size_;
    std::vector<std::span<double>> values_;
    std::vector<std::span<const Communicator::Part>> parts_;
    std::mutex mutex_;
    std::condition_variable all_here_;
    int here_ = 0;
    int64_t meetings_ = 0;
    int gave_up_ = -1;  // a rank
};

class ThreadCommunicator : public Communicator {
  public:
    ThreadCommunicator(std::shared_ptr<Meeting> meeting, int rank)
        : Communicator(rank, meeting->size()), meeting_(std::move(meeting)) {}

    void all_reduce_sum(std::span<double> values) override;
    void barrier() override { meeting_->meet(); }
    void reduce(Stream& stream, std::span<const Part> parts) override;
    void broadcast(Stream& stream, std::span<const Part> parts) override;
    void finish(Stream&) override {}
    void abort() noexcept override { meeting_->give_up(rank()); }

  protected:
    // Throws on all ranks when their parts differ in number, shape, type or owner.
    void meet_with(std::span<const Part> parts);

    std::shared_ptr<Meeting> meeting_;

  private:
    std::vector<double> sums_;
};

}  // namespace templar
