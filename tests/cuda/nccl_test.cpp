// Several GPUs through a fake NCCL: sums at their owners, the order of streams, and a rank that gives up.
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/nccl.h"

#include "base/error.h"
#include "tests/cuda/fake_cuda.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace templar;
using namespace templar::test;

namespace {

using Part = Communicator::Part;

struct Gpus {
    std::vector<std::unique_ptr<Device>> devices;
    std::vector<std::unique_ptr<Communicator>> communicators;
    explicit Gpus(int count) {
        fake = {};
        fake.gpus = count;
        fake.memory = size_t{1} << 30;
        std::vector<Device*> all;
        for (int i = 0; i < count; ++i) {
            devices.push_back(cuda::open_gpu(i, DType::f32, ""));
            all.push_back(devices.back().get());
        }
        communicators = cuda::nccl_communicators(all);
    }
    // body(rank) on a thread for each; what each threw.
    std::vector<std::string> run(const std::function<void(Communicator&, Stream&)>& body) {
        std::vector<std::string> errors(devices.size());
        std::vector<std::jthread> threads;
        for (size_t rank = 0; rank < devices.size(); ++rank)
            threads.emplace_back([&, rank] {
                try {
                    body(*communicators[rank], devices[rank]->stream());
                } catch (const std::exception& error) {
                    errors[rank] = error.what();
                    communicators[rank]->abort();
                }
            });
        threads.clear();
        return errors;
    }
};

}  // namespace

TEST_CASE("each tensor's sum reaches its owner, and what an owner has reaches all") {
    for (const int ranks : {1, 2, 4}) {
        Gpus gpus(ranks);
        const auto errors = gpus.run([&](Communicator& communicator, Stream& stream) {
            std::vector<float> x(100, static_cast<float>(communicator.rank() + 1)), y(3, 1.0f);
            float nothing = 0;
            const std::vector<Part> parts{{Tensor(x.data(), {10, 10}), ranks - 1},
                                          {Tensor(y.data(), {3}), 0},
                                          {Tensor(&nothing, {0}), 0}};
            communicator.reduce(stream, parts);
            communicator.finish(stream);
            const float sum = static_cast<float>(ranks * (ranks + 1)) / 2;
            const bool owns_x = communicator.rank() == ranks - 1;
            if (x[99] != (owns_x ? sum : static_cast<float>(communicator.rank() + 1)))
                fail(ExitCode::internal, "x {}", x[99]);
            if (y[2] != (communicator.rank() == 0 ? static_cast<float>(ranks) : 1.0f))
                fail(ExitCode::internal, "y {}", y[2]);
            communicator.broadcast(stream, parts);
            communicator.finish(stream);
            if (x[0] != sum || y[0] != static_cast<float>(ranks))
                fail(ExitCode::internal, "broadcast {} {}", x[0], y[0]);
            double total = 1;
            communicator.all_reduce_sum({&total, 1});
            if (total != ranks) fail(ExitCode::internal, "total {}", total);
        });
        for (const std::string& error : errors) CHECK(error == "");
    }
    CHECK(fake.handles == 0);
}

TEST_CASE("sums travel on their own stream, between what came before and what waits for them") {
    Gpus gpus(1);
    Stream& stream = gpus.devices[0]->stream();
    float x = 0;
    const Part part{Tensor(&x, {1}), 0};
    fake.logs = true;
    gpus.communicators[0]->reduce(stream, {&part, 1});
    gpus.communicators[0]->finish(stream);
    fake.logs = false;
    REQUIRE(fake.log.size() == 5);
    const void* const compute = fake.log[0].second;
    const void* const transfer = fake.log[1].second;
    CHECK(compute != transfer);
    CHECK(fake.log == decltype(fake.log){{"record", compute},
                                         {"wait", transfer},
                                         {"nccl", transfer},
                                         {"record", transfer},
                                         {"wait", compute}});
}

TEST_CASE("when one GPU fails the others stop instead of waiting for it") {
    Gpus gpus(4);
    const auto errors = gpus.run([](Communicator& communicator, Stream& stream) {
        communicator.barrier();
        if (communicator.rank() == 1) fail(ExitCode::device, "ECC");
        float x = 0;
        const Part part{Tensor(&x, {1}), 0};
        communicator.reduce(stream, {&part, 1});
        communicator.barrier();
    });
    for (size_t rank = 0; rank < errors.size(); ++rank) {
        CAPTURE(errors[rank]);
        CHECK((errors[rank] == "ECC") == (rank == 1));
        CHECK(errors[rank] != "");
    }
}
