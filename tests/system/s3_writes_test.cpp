// Writing through the S3 client: once and whole, whoever else writes and whatever answer is lost.
#include "tests/system/s3_client_fixture.h"

#include <doctest/doctest.h>

using namespace templar;
using namespace templar::s3test;

TEST_CASE("of eight that create one key at the same time exactly one is told so, whatever is lost") {
    for (const int64_t bytes : {small_bytes, large_bytes})
        for (uint64_t seed = 1; seed <= 6; ++seed) {
            Scene scene(quick_to_see_stalls());
            for (const Fault fault :
                 {Fault::reset_stored, Fault::reset_unstored, Fault::status, Fault::stall})
                scene.server.inject({.fault = fault,
                                     .operations = {Operation::put, Operation::complete_upload},
                                     .times = 1000,
                                     .probability = fault == Fault::reset_stored ? 0.5 : 0.05,
                                     .seed = seed});
            std::vector<int> told(8);
            std::vector<std::string> errors(8);
            in_parallel(8, told.size(), [&](size_t i) {
                try {
                    S3Client client = scene.another();
                    told[i] = client.create("race", sample_bytes(bytes, 100 + i)) ? 1 : 0;
                } catch (const std::exception& error) {
                    errors[i] = error.what();
                }
            });
            int winners = 0;
            for (size_t i = 0; i < told.size(); ++i) {
                INFO(bytes, " bytes, seed ", seed, ", writer ", i, ": ", errors[i]);
                CHECK(errors[i] == "");
                winners += told[i];
                CHECK((told[i] == 1) == (scene.stored("race") == sample_bytes(bytes, 100 + i)));
            }
            CHECK(winners == 1);
            CHECK(scene.server.find("bucket", "race")->times_stored == 1);
            CHECK(scene.server.uploads_open("bucket") == 0);
        }
}

TEST_CASE("a key that exists is not created, whatever is lost, and costs no second upload") {
    const Bytes first = sample_bytes(small_bytes, 1);
    for (const int64_t bytes : {small_bytes, large_bytes})
        for (const Fault fault : {Fault::reset_before, Fault::reset_unstored, Fault::reset_stored,
                                  Fault::status, Fault::stall, Fault::garbage, Fault::early_status}) {
            INFO(bytes, " bytes, ", std::string(fault_name(fault)));
            Scene scene(quick_to_see_stalls());
            scene.server.store("bucket", "key", first);
            // Not to be seen by the look that comes first.
            scene.server.inject({.fault = Fault::status,
                                 .operations = {Operation::head},
                                 .status = 404,
                                 .code = "NoSuchKey"});
            scene.server.inject(
                {.fault = fault, .operations = {Operation::put, Operation::complete_upload}, .times = 2});
            CHECK(!scene.client.create("key", sample_bytes(bytes, 2)));
            CHECK(scene.stored("key") == first);
            CHECK(scene.server.counters().of(Operation::upload_part) <= 5);
            CHECK(scene.server.uploads_open("bucket") == 0);
        }
    Scene scene;
    scene.server.store("bucket", "key", first);
    CHECK(!scene.client.create("key", first));  // equal bytes, but not this call's
    CHECK(scene.requests() == 1);
}

TEST_CASE("an upload in parts: rules kept, nothing left behind, taken up again") {
    Scene scene(hasty(10'000), {.min_part_bytes = 64 << 10});
    const Bytes bytes = sample_bytes(large_bytes, 3);
    SUBCASE("in equal parts, as R2 wants them") {
        scene.client.put("key", bytes);
        CHECK(scene.stored("key") == bytes);
        CHECK(scene.server.counters().of(Operation::upload_part) == 5);
    }
    SUBCASE("given up: removed") {
        scene.server.inject({.operations = {Operation::upload_part},
                             .first = 3,
                             .times = 1000,
                             .status = 403,
                             .code = "AccessDenied"});
        error_of(ExitCode::storage, [&] { scene.client.put("key", bytes); });
        CHECK(scene.stored("key").empty());
        CHECK(scene.server.uploads_open("bucket") == 0);
    }
    SUBCASE("cut off: taken up again, with what is there") {
        scene.server.inject({.operations = {Operation::upload_part},
                             .first = 4,
                             .times = 1000,
                             .status = 403,
                             .code = "AccessDenied"});
        scene.server.inject(
            {.operations = {Operation::abort_upload}, .times = 1000, .status = 403, .code = "AccessDenied"});
        error_of(ExitCode::storage, [&] { scene.client.put("key", bytes); });
        CHECK(scene.server.uploads_open("bucket") == 1);
        scene.server.heal();
        scene.server.forget_counts();
        CHECK(scene.client.create("key", bytes));
        CHECK(scene.stored("key") == bytes);
        CHECK(scene.server.counters().of(Operation::create_upload) == 0);
        CHECK(scene.server.counters().of(Operation::upload_part) <= 4);
        CHECK(scene.server.uploads_open("bucket") == 0);
    }
    SUBCASE("of other bytes: not mixed with these") {
        scene.server.inject({.operations = {Operation::complete_upload, Operation::abort_upload},
                             .times = 1000,
                             .status = 403,
                             .code = "AccessDenied"});
        error_of(ExitCode::storage, [&] { scene.client.put("key", sample_bytes(large_bytes, 4)); });
        scene.server.heal();
        scene.client.put("key", bytes);
        CHECK(scene.stored("key") == bytes);
        // Another process may be at it: left alone, until it is old enough to be swept.
        const std::vector<S3Upload> left = scene.client.unfinished_uploads("");
        REQUIRE(left.size() == 1);
        CHECK(left[0].key == "key");
        scene.client.abort_upload(left[0]);
        CHECK(scene.server.uploads_open("bucket") == 0);
    }
    SUBCASE("the service forgot it: begun again") {
        scene.server.inject(
            {.operations = {Operation::upload_part}, .first = 2, .status = 404, .code = "NoSuchUpload"});
        scene.client.put("key", bytes);
        CHECK(scene.stored("key") == bytes);
    }
    SUBCASE("completed, but the answer cannot be read") {
        scene.server.inject(
            {.fault = Fault::reset_middle, .operations = {Operation::complete_upload}, .bytes = 50});
        CHECK(scene.client.create("key", bytes));
        CHECK(scene.server.counters().of(Operation::upload_part) == 5);
    }
}

TEST_CASE("one write a second and key, as R2 allows: a client that is told so waits") {
    S3Policy policy = hasty(10'000);
    policy.longest_pause_ms = 400;
    Scene scene(policy, {.one_write_per_second = true});
    for (uint64_t i = 0; i < 3; ++i) scene.client.put("key", sample_bytes(10, i));
    CHECK(scene.stored("key") == sample_bytes(10, 2));
    CHECK(scene.client.stats().retries >= 2);
}
