// A swarm in which one miner and one validator compute with the CUDA table: everybody ends with the same state.
#include "tests/node/sample.h"
#include "tests/simt/test_device.h"

#include <doctest/doctest.h>

using namespace templar;

TEST_CASE("5 windows with a CUDA miner and a CUDA validator among CPU ones end in equal roots") {
    const sample::TemporaryFolder folder;
    VirtualClock clock(sample::clock_start_ms);
    const LocalSwarm swarm = sample::swarm(folder.path(), clock, 3, 0, 0, 2);
    const auto roots = run_virtual(swarm,
                                   {.windows = 5,
                                    .tokens_per_window = 128,
                                    .micro_batch = 2,
                                    .start_order = {},
                                    .open = open_bucket,
                                    .open_devices =
                                        [](const LocalPeer& peer) {
                                            const bool cuda = peer.name == "miner-2" || peer.name == "validator-2";
                                            std::vector<std::unique_ptr<Device>> devices;
                                            devices.push_back(cuda ? test::test_device(DType::bf16) : cpu_device(1));
                                            // A miner with two devices.
                                            if (peer.name == "miner-3") devices.push_back(cpu_device(1));
                                            return devices;
                                        }},
                                   clock);
    for (const Digest& root : roots) CHECK(root == roots.front());
    CHECK(roots.front() != swarm.created.run.description.genesis_root);
}
