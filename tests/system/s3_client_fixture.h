// The client against the server that misbehaves: what all such tests need.
#pragma once

#include "base/error.h"
#include "net/s3/client.h"
#include "tests/system/s3_server.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace templar::s3test {

inline const Key our_key{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG/verysecret",
                         "IQoJb3JpZ2luX2VjEOverysecrettoken"};
inline const S3Credentials our_credentials{our_key.id, our_key.secret, our_key.session_token};

inline std::shared_ptr<Transport> loopback_transport(int connections = 64) {
    return std::make_shared<Transport>(
        Transport::Rules{.allow_http = true, .allow_private = true, .max_connections = connections});
}

inline S3Location location_of(const Server& server, const std::string& bucket) {
    return {.https = false,
            .host = "127.0.0.1",
            .port = server.port(),
            .bucket = bucket,
            .prefix = {},
            .region = "auto",
            .profile = {}};
}

// In a hurry: what takes a minute in the field is over in a second.
inline S3Policy hasty(int64_t budget_ms) {
    S3Policy policy;
    policy.get_part_bytes = policy.put_part_bytes = 64 << 10;
    policy.multipart_bytes = 128 << 10;
    policy.budget_ms = budget_ms;
    policy.min_bytes_per_s = 256 << 10;
    policy.stall_ms = 600;
    policy.first_pause_ms = 8;
    policy.longest_pause_ms = 50;
    return policy;
}

// Bytes that differ with the seed and nowhere repeat.
inline Bytes sample_bytes(int64_t size, uint64_t seed) {
    Bytes bytes(static_cast<size_t>(size));
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    for (uint8_t& byte : bytes) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        byte = static_cast<uint8_t>(state >> 56);
    }
    return bytes;
}

inline double seconds_since(std::chrono::steady_clock::time_point begun) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

// Does job(0) … job(count − 1), `width` at a time. Jobs must not throw, nor assert.
inline void in_parallel(int width, size_t count, const std::function<void(size_t)>& job) {
    std::atomic<size_t> next{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < width; ++i)
        threads.emplace_back([&] {
            for (size_t at = next++; at < count; at = next++) job(at);
        });
    for (std::thread& thread : threads) thread.join();
}

// Whether a text for people gives away the key, the token, or what they signed.
inline bool tells_secrets(const std::string& text) {
    const auto has = [&](const std::string& part) { return text.find(part) != std::string::npos; };
    return has(our_key.secret) || has(our_key.session_token) || has("Signature=") || has("Credential=A");
}

// A server with one bucket, and a client of it.
struct Scene {
    explicit Scene(const S3Policy& policy = hasty(10'000), const Quirks& quirks = {.min_part_bytes = 1})
        : server(quirks), policy(policy), client(another()) {
        server.add_key(our_key);
        server.add_bucket("bucket");
    }
    S3Client another(const std::atomic<bool>* stop = nullptr) const {
        return {transport, location_of(server, "bucket"), our_credentials, policy, stop};
    }
    Bytes stored(const std::string& key) const {
        const std::optional<Stored> found = server.find("bucket", key);
        return found ? found->bytes : Bytes();
    }
    int64_t requests() const { return server.counters().all_requests; }

    Server server;
    S3Policy policy;
    std::shared_ptr<Transport> transport = loopback_transport();
    S3Client client;
};

inline S3Policy quick_to_see_stalls() {
    S3Policy policy = hasty(10'000);
    policy.stall_ms = 200;
    return policy;
}

inline constexpr int64_t small_bytes = 10'000, large_bytes = 300'000;  // of which 64 KiB a part

template <class Call>
std::string error_of(ExitCode code, const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        CHECK(error.code() == code);
        CHECK(!tells_secrets(error.what()));
        return error.what();
    }
    FAIL_CHECK("no error");
    return "";
}

inline bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace templar::s3test
