#include "kernels/thread_communicator.h"

#include "base/error.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace templar {

void Meeting::meet() {
    std::unique_lock lock(mutex_);
    const int64_t meeting = meetings_;
    if (gave_up_ < 0 && ++here_ == size_) {
        here_ = 0;
        ++meetings_;
        all_here_.notify_all();
        return;
    }
    all_here_.wait(lock, [&] { return meetings_ != meeting || gave_up_ >= 0; });
    if (meetings_ == meeting)
        fail(ExitCode::device, "device {} of {} failed, so the others stop", gave_up_, size_);
}

void Meeting::give_up(int rank) noexcept {
    const std::lock_guard lock(mutex_);
    if (gave_up_ < 0) gave_up_ = rank;
    all_here_.notify_all();
}

void ThreadCommunicator::all_reduce_sum(std::span<double> values) {
    meeting_->values(rank()) = values;
    meeting_->meet();
    sums_.assign(values.size(), 0.0);
    bool match = true;
    for (int rank = 0; rank < size(); ++rank) {
        const std::span<const double> theirs = meeting_->values(rank);
        match = match && theirs.size() == meeting_->values(0).size();
        if (theirs.size() == values.size())
            for (size_t i = 0; i < values.size(); ++i) sums_[i] += theirs[i];
    }
    meeting_->meet();
    if (!match) fail(ExitCode::internal, "all_reduce_sum: the ranks brought different numbers of values");
    std::copy(sums_.begin(), sums_.end(), values.begin());
}

void ThreadCommunicator::meet_with(std::span<const Part> parts) {
    meeting_->parts(rank()) = parts;
    meeting_->meet();
    const auto same = [](const Part& a, const Part& b) {
        return a.owner == b.owner && a.tensor.dtype == b.tensor.dtype && a.tensor.numel() == b.tensor.numel();
    };
    const std::span<const Part> first = meeting_->parts(0);
    bool match = true;
    for (int rank = 0; rank < size(); ++rank) {
        const std::span<const Part> theirs = meeting_->parts(rank);
        match = match && std::equal(first.begin(), first.end(), theirs.begin(), theirs.end(), same);
    }
    for (const Part& part : first) match = match && part.owner >= 0 && part.owner < size();
    if (match) return;
    meeting_->meet();  // the others may still be reading what this rank's caller frees when it hears of this
    fail(ExitCode::internal, "the ranks brought different tensors, or owners that are no rank");
}

void ThreadCommunicator::reduce(Stream&, std::span<const Part> parts) {
    meet_with(parts);
    constexpr int64_t block = 4096;  // stays in the first cache
    float sum[block];
    for (size_t i = 0; i < parts.size(); ++i) {
        if (parts[i].owner != rank()) continue;
        const Tensor& mine = parts[i].tensor;
        for (int64_t first = 0; first < mine.numel(); first += block) {
            const int64_t count = std::min(block, mine.numel() - first);
            std::fill_n(sum, count, 0.0f);
            for (int rank = 0; rank < size(); ++rank) {
                const float* theirs = meeting_->parts(rank)[i].tensor.f32() + first;
                for (int64_t j = 0; j < count; ++j) sum[j] += theirs[j];
            }
            std::copy_n(sum, count, mine.f32() + first);
        }
    }
    meeting_->meet();
}

void ThreadCommunicator::broadcast(Stream&, std::span<const Part> parts) {
    meet_with(parts);
    for (size_t i = 0; i < parts.size(); ++i) {
        const Part& theirs = meeting_->parts(parts[i].owner)[i];
        if (theirs.owner != rank() && theirs.tensor.bytes() > 0)
            std::memcpy(parts[i].tensor.data, theirs.tensor.data, static_cast<size_t>(theirs.tensor.bytes()));
    }
    meeting_->meet();
}

std::vector<std::unique_ptr<Communicator>> thread_communicators(int size) {
    const auto meeting = std::make_shared<Meeting>(size);
    std::vector<std::unique_ptr<Communicator>> all;
    for (int rank = 0; rank < size; ++rank)
        all.push_back(std::make_unique<ThreadCommunicator>(meeting, rank));
    return all;
}

namespace {

// Copies what a rank brings to the host, has it added or handed on there, and copies back what changed.
class HostCommunicator final : public Communicator {
  public:
    HostCommunicator(Device& device, std::unique_ptr<Communicator> on_host)
        : Communicator(on_host->rank(), on_host->size()), device_(device), on_host_(std::move(on_host)) {}

    void all_reduce_sum(std::span<double> values) override { on_host_->all_reduce_sum(values); }
    void barrier() override { on_host_->barrier(); }
    void abort() noexcept override { on_host_->abort(); }
    void finish(Stream&) override {}

    void reduce(Stream& stream, std::span<const Part> parts) override {
        fetch(stream, parts, [](const Part&) { return true; });
        on_host_->reduce(stream, staged_);
        send(stream, parts, [&](const Part& part) { return part.owner == rank(); });
    }
    void broadcast(Stream& stream, std::span<const Part> parts) override {
        fetch(stream, parts, [&](const Part& part) { return part.owner == rank(); });
        on_host_->broadcast(stream, staged_);
        send(stream, parts, [&](const Part& part) { return part.owner != rank(); });
    }

  private:
    // Room on the host for every part; the values of those that `wanted` names.
    template <class Wanted>
    void fetch(Stream& stream, std::span<const Part> parts, Wanted wanted) {
        staged_.assign(parts.begin(), parts.end());
        int64_t bytes = 0;
        for (const Part& part : parts) bytes += part.tensor.bytes();
        memory_.resize(static_cast<size_t>(bytes + 3) / 4);
        auto* position = reinterpret_cast<std::byte*>(memory_.data());
        for (Part& part : staged_) {
            const void* const from = part.tensor.data;
            part.tensor.data = position;
            position += part.tensor.bytes();
            if (wanted(part)) device_.download(stream, part.tensor.data, from, part.tensor.bytes());
        }
        device_.wait(stream);
    }
    template <class Wanted>
    void send(Stream& stream, std::span<const Part> parts, Wanted wanted) {
        for (size_t i = 0; i < parts.size(); ++i)
            if (wanted(parts[i]))
                device_.upload(stream, parts[i].tensor.data, staged_[i].tensor.data, parts[i].tensor.bytes());
    }

    Device& device_;
    std::unique_ptr<Communicator> on_host_;
    std::vector<float> memory_;
    std::vector<Part> staged_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> host_communicators(std::span<Device* const> devices) {
    std::vector<std::unique_ptr<Communicator>> all = thread_communicators(static_cast<int>(devices.size()));
    for (size_t rank = 0; rank < devices.size(); ++rank)
        all[rank] = std::make_unique<HostCommunicator>(*devices[rank], std::move(all[rank]));
    return all;
}

std::vector<int> balanced_owners(std::span<const int64_t> sizes, int ranks) {
    std::vector<size_t> order(sizes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
    std::vector<int64_t> load(static_cast<size_t>(ranks));
    std::vector<int> owners(sizes.size());
    for (size_t i : order) {
        const auto least = std::min_element(load.begin(), load.end());
        owners[i] = static_cast<int>(least - load.begin());
        *least += sizes[i];
    }
    return owners;
}

}  // namespace templar
