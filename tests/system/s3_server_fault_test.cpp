// The server's faults, seen through a plain socket: what they do to the wire, and when they strike.
#include "tests/system/s3_plain_client.h"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <memory>

using namespace templar;
using namespace templar::s3test;

TEST_CASE("faults strike the request they are meant for, as often as they are meant to") {
    Fixture service;
    service.server.store("bucket", "key", Bytes(10, 'x'));
    service.server.store("bucket", "other", Bytes(10, 'x'));
    const int64_t rule = service.server.inject({.fault = Fault::status,
                                                .operations = {Operation::get},
                                                .where = "*/k*y",
                                                .first = 2,
                                                .times = 2,
                                                .status = 429,
                                                .code = "TooManyRequests",
                                                .retry_after = "7"});
    CHECK(service({}).status == 200);
    CHECK(service({.method = "HEAD"}).status == 200);
    CHECK(service({.target = "/bucket/other"}).status == 200);
    const Answer struck = service({});
    CHECK(struck.status == 429);
    CHECK(struck.code() == "TooManyRequests");
    CHECK(struck.header("Retry-After") == "7");
    CHECK(service({}).status == 429);
    CHECK(service({}).status == 200);
    CHECK(service.server.strikes(rule) == 2);
    service.server.inject({.times = 1000});
    CHECK(service({}).status == 503);
    service.server.heal();
    CHECK(service({}).status == 200);

    service.server.inject({.times = 1000, .probability = 0.25, .seed = 5});
    int struck_by_chance = 0;
    for (int i = 0; i < 200; ++i) struck_by_chance += service({}).status == 503;
    CHECK(struck_by_chance > 25);
    CHECK(struck_by_chance < 75);
}

TEST_CASE("every fault does to the wire what it says") {
    Fixture service;
    service.server.store("bucket", "key", Bytes(1000, 'x'));
    const auto with = [&](FaultRule rule) -> Server& {
        service.server.heal();
        service.server.inject(rule);
        return service.server;
    };
    const auto sent = [&](FaultRule rule, const Ask& question = {}) {
        auto plain = std::make_unique<Plain>(with(rule).port());
        plain->send(signed_request(service.server, question));
        return plain;
    };
    const auto drained = [&](FaultRule rule, const Ask& question = {}, int wait_ms = 3000) {
        auto plain = sent(rule, question);
        while (plain->received.size() < 4'000'000 && plain->receive(wait_ms)) {
        }
        return plain;
    };
    SUBCASE("resets") {
        const Ask put{.method = "PUT", .target = "/bucket/new", .body = "body"};
        CHECK(drained({.fault = Fault::reset_before}, put)->was_reset);
        CHECK(drained({.fault = Fault::reset_unstored}, put)->was_reset);
        CHECK(service.stored("new") == "(none)");
        const auto stored = drained({.fault = Fault::reset_stored}, put);
        CHECK(stored->was_reset);
        CHECK(stored->received.empty());
        CHECK(service.stored("new") == "body");
        auto middle = sent({.fault = Fault::reset_middle, .bytes = 100});
        CHECK(!middle->answer().complete);
        CHECK(middle->was_reset);
    }
    SUBCASE("silence and slowness") {
        auto stalled = sent({.fault = Fault::stall});
        CHECK(stalled->answer(false, 100).status == 0);
        CHECK(stalled->timed_out);
        CHECK(sent({.fault = Fault::stall, .ms = 50})->answer().complete);
        auto middle = sent({.fault = Fault::stall_middle, .bytes = 100});
        const Answer half = middle->answer(false, 100);
        CHECK(half.body.size() == 100);
        CHECK(middle->timed_out);
        const auto begun = std::chrono::steady_clock::now();
        CHECK(sent({.fault = Fault::drip, .bytes_per_s = 5000})->answer().complete);
        CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::milliseconds(100));
        CHECK(sent({.fault = Fault::drip_all, .bytes_per_s = 10})->answer(false, 20).status == 0);
    }
    SUBCASE("lengths") {
        auto truncated = sent({.fault = Fault::truncated, .bytes = 300});
        const Answer cut = truncated->answer();
        CHECK(cut.header("Content-Length") == "1000");
        CHECK(cut.body.size() == 700);
        CHECK(!truncated->was_reset);
        const auto lengths = [&](Fault fault) {
            const auto plain = drained({.fault = fault, .bytes = 10}, {}, 50);
            const size_t body = plain->received.find("\r\n\r\n") + 4;
            const size_t announced = plain->received.find("Content-Length: ") + 16;
            return std::pair(std::atoi(plain->received.c_str() + announced),
                             static_cast<int>(plain->received.size() - body));
        };
        CHECK(lengths(Fault::short_length) == std::pair(990, 1000));
        CHECK(lengths(Fault::shorter) == std::pair(990, 990));
        CHECK(lengths(Fault::oversized) == std::pair(1010, 1010));
        CHECK(lengths(Fault::overrun) == std::pair(1000, 1010));
        const auto chunked = drained({.fault = Fault::chunked}, {}, 50);
        CHECK(chunked->received.find("Content-Length") == std::string::npos);
        CHECK(chunked->received.ends_with("xxx\r\n0\r\n\r\n"));
        CHECK(drained({.fault = Fault::endless})->received.size() >= 4'000'000);
        CHECK(drained({.fault = Fault::continues})->received.size() >= 4'000'000);
        CHECK(drained({.fault = Fault::header_bomb, .bytes = 1'000'000}, {}, 50)->received.find("\r\n\r\n") >
              1'000'000);
    }
    SUBCASE("lies") {
        const Ask ranged{.headers = {{"range", "bytes=10-19"}}};
        CHECK(sent({.fault = Fault::header, .name = "ETag", .value = "\"0\""})->answer().header("ETag") ==
              "\"0\"");
        CHECK(sent({.fault = Fault::header, .name = "ETag"})->answer().header("ETag").empty());
        const Answer whole = sent({.fault = Fault::ignore_range}, ranged)->answer();
        CHECK(whole.status == 200);
        CHECK(whole.body.size() == 1000);
        CHECK(sent({.fault = Fault::flip, .bytes = 12}, ranged)->answer().body == "xxyxxxxxxx");
        CHECK(sent({.fault = Fault::flip, .bytes = 20}, ranged)->answer().body == "xxxxxxxxxx");
        const Answer hidden = sent({.fault = Fault::error_in_200, .code = "InternalError"},
                                   {.method = "PUT", .target = "/bucket/new"})
                                  ->answer();
        CHECK(hidden.status == 200);
        CHECK(hidden.code() == "InternalError");
        CHECK(service.stored("new") == "(none)");
        CHECK(drained({.fault = Fault::garbage})->received.find("HTTP") == std::string::npos);
        const Answer away = sent({.fault = Fault::redirect, .value = "http://127.0.0.1:1/"})->answer();
        CHECK(away.status == 307);
        CHECK(away.header("Location") == "http://127.0.0.1:1/");
        CHECK(sent({.fault = Fault::echo})->answer().body.find("Signature=") != std::string::npos);
        CHECK(sent({.fault = Fault::early_status, .status = 500})->answer().status == 500);
    }
    SUBCASE("documents") {
        const Ask list{.target = "/bucket?list-type=2"};
        CHECK(sent({.fault = Fault::list_stuck}, list)
                  ->answer()
                  .body.find("<IsTruncated>true</IsTruncated><Next") != std::string::npos);
        CHECK(sent({.fault = Fault::malformed_xml}, list)->answer().body.ends_with("</L"));
        const Answer bomb =
            sent({.fault = Fault::body, .bytes = 99, .name = "<!DOCTYPE>", .value = "<a>"}, list)->answer();
        CHECK(bomb.body.starts_with("<!DOCTYPE><a><a>"));
        CHECK(bomb.body.size() >= 99);
    }
}
