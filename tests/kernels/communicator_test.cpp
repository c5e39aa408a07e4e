// Ranks as threads: sums in a stated order, owners, and nobody left waiting.
#include "kernels/communicator.h"

#include "base/error.h"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <functional>
#include <numeric>
#include <string>
#include <thread>

using namespace templar;

namespace {

using Part = Communicator::Part;

// Runs body(communicator, stream) on every rank; what each threw, "" for nothing.
std::vector<std::string> on_ranks(int ranks, const std::function<void(Communicator&, Stream&)>& body) {
    auto all = thread_communicators(ranks);
    std::vector<std::string> errors(static_cast<size_t>(ranks));
    std::vector<std::jthread> threads;
    for (auto& communicator : all)
        threads.emplace_back([&, &mine = *communicator] {
            try {
                Stream stream;
                body(mine, stream);
            } catch (const std::exception& error) {
                errors[static_cast<size_t>(mine.rank())] = error.what();
                mine.abort();
            }
        });
    threads.clear();
    return errors;
}

float value(int rank, int64_t tensor, int64_t i) {
    return 1e-3f * static_cast<float>((rank * 7919 + tensor * 104729 + i * 31) % 2003 - 1001) *
           (rank == 1 ? 1e4f : 1.0f);
}

}  // namespace

TEST_CASE("each tensor becomes its owner's, added in the order of the ranks") {
    for (const int ranks : {1, 2, 4}) {
        const std::vector<int64_t> sizes{10000, 1, 0, 4097, 300};
        const std::vector<int> owners = balanced_owners(sizes, ranks);
        const auto errors = on_ranks(ranks, [&](Communicator& communicator, Stream& stream) {
            for (int repeat = 0; repeat < 20; ++repeat) {
                std::vector<std::vector<float>> tensors;
                std::vector<Part> parts;
                for (size_t t = 0; t < sizes.size(); ++t) {
                    tensors.emplace_back(sizes[t]);
                    for (int64_t i = 0; i < sizes[t]; ++i) tensors[t][i] = value(communicator.rank(), t, i);
                    parts.push_back({Tensor(tensors[t].data(), {sizes[t]}), owners[t]});
                }
                communicator.reduce(stream, parts);
                communicator.finish(stream);
                for (size_t t = 0; t < sizes.size(); ++t)
                    for (int64_t i = 0; i < sizes[t]; ++i) {
                        float expected = 0.0f;
                        for (int rank = 0; rank < ranks; ++rank) expected += value(rank, t, i);
                        if (owners[t] != communicator.rank()) expected = value(communicator.rank(), t, i);
                        if (tensors[t][i] != expected) fail(ExitCode::internal, "tensor {} at {}", t, i);
                    }
                communicator.broadcast(stream, parts);
                communicator.finish(stream);
                for (size_t t = 0; t < sizes.size(); ++t)
                    for (int64_t i = 0; i < sizes[t]; ++i) {
                        float expected = 0.0f;
                        for (int rank = 0; rank < ranks; ++rank) expected += value(rank, t, i);
                        if (tensors[t][i] != expected)
                            fail(ExitCode::internal, "broadcast tensor {} at {}", t, i);
                    }
            }
        });
        for (const std::string& error : errors) CHECK(error == "");
    }
}

TEST_CASE("numbers on the host have the same sum on all ranks") {
    std::vector<double> sums(4);
    const auto errors = on_ranks(4, [&](Communicator& communicator, Stream&) {
        for (int repeat = 0; repeat < 1000; ++repeat) {
            std::array<double, 2> values{1.0 / (1 + communicator.rank()), static_cast<double>(repeat)};
            communicator.all_reduce_sum(values);
            if (values[1] != 4.0 * repeat) fail(ExitCode::internal, "{} in repeat {}", values[1], repeat);
            sums[static_cast<size_t>(communicator.rank())] = values[0];
        }
    });
    for (const std::string& error : errors) CHECK(error == "");
    for (const double sum : sums) CHECK(sum == 1.0 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4);
}

TEST_CASE("nobody passes a barrier before all have come") {
    std::atomic<int> arrived = 0;
    const auto errors = on_ranks(3, [&](Communicator& communicator, Stream&) {
        for (int repeat = 1; repeat <= 500; ++repeat) {
            ++arrived;
            communicator.barrier();
            if (arrived < 3 * repeat)
                fail(ExitCode::internal, "passed with {} arrivals in repeat {}", arrived.load(), repeat);
            communicator.barrier();
        }
    });
    for (const std::string& error : errors) CHECK(error == "");
}

TEST_CASE("when one rank fails the others stop instead of waiting for it") {
    const auto errors = on_ranks(4, [](Communicator& communicator, Stream& stream) {
        communicator.barrier();
        if (communicator.rank() == 2) fail(ExitCode::device, "out of memory");
        float number = 1.0f;
        const Part part{Tensor(&number, {1}), 0};
        communicator.reduce(stream, {&part, 1});
        communicator.barrier();
    });
    for (size_t rank = 0; rank < errors.size(); ++rank)
        CHECK(errors[rank] == (rank == 2 ? "out of memory" : "device 2 of 4 failed, so the others stop"));
}

TEST_CASE("calls that do not match are a bug that every rank reports") {
    // Often, and with many parts: one rank still reads them when the other has seen that they differ.
    for (int repeat = 0; repeat < 100; ++repeat) {
        const auto errors = on_ranks(2, [](Communicator& communicator, Stream& stream) {
            std::array<float, 2> numbers{};
            std::vector<Part> parts(5000, Part{Tensor(numbers.data(), {1}), 0});
            parts.back() = Part{Tensor(numbers.data(), {1 + communicator.rank()}), 0};
            communicator.reduce(stream, parts);
        });
        for (const std::string& error : errors)
            CHECK(error == "the ranks brought different tensors, or owners that are no rank");
    }
    const auto counts = on_ranks(2, [](Communicator& communicator, Stream&) {
        std::vector<double> numbers(static_cast<size_t>(communicator.rank()));
        communicator.all_reduce_sum(numbers);
    });
    for (const std::string& error : counts)
        CHECK(error == "all_reduce_sum: the ranks brought different numbers of values");
}

TEST_CASE("owners have near equal shares") {
    CHECK(balanced_owners(std::vector<int64_t>{1, 5, 3, 3, 2}, 2) == std::vector<int>{1, 0, 1, 1, 0});
    CHECK(balanced_owners(std::vector<int64_t>{4, 4}, 1) == std::vector<int>{0, 0});
    // A Llama's tensors: 16 layers of four matrices and two norms, embedding and head.
    std::vector<int64_t> sizes{32000 * 2048, 32000 * 2048, 2048};
    for (int layer = 0; layer < 16; ++layer)
        for (const int64_t size : {2048 * 6144, 2048 * 2048, 2048 * 16384, 8192 * 2048, 2048, 2048})
            sizes.push_back(size);
    const std::vector<int> owners = balanced_owners(sizes, 8);
    std::vector<int64_t> load(8);
    for (size_t i = 0; i < sizes.size(); ++i) load[static_cast<size_t>(owners[i])] += sizes[i];
    const double mean = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})) / 8;
    for (const int64_t share : load) CHECK(static_cast<double>(share) < 1.02 * mean);
}
