// Everything that can go wrong on the way to a bucket, against every operation: how it ends is stated.
#include "tests/system/s3_client_fixture.h"

#include "base/sha256.h"

#include <doctest/doctest.h>

#include <algorithm>

using namespace templar;
using namespace templar::s3test;

namespace {

// In the order of the columns.
enum Column { get, fetch, put, create, multi, list, head, columns };
constexpr const char* column_names[columns] = {"get",  "fetch", "put", "create", "create in parts",
                                               "list", "head"};

// How an operation ends:
//   O  as if nothing had happened: the right bytes, stored or received
//   S  Error(storage)
//   I  Error(input): the object is not what it should be
//   L  with what the service said, which is wrong but cannot be known to be: hashes of what is read are
//      judged by the callers (fetch has an ArrivalCheck for that)
//   -  not tried
struct Row {
    FaultRule fault;
    std::string_view passing;  // it strikes twice; of an upload in parts, every kind of request once
    std::string_view lasting;  // it strikes always
    std::string_view tries{};  // lasting: requests until it is given up, where that must not be many: 1 … 9
};

constexpr int64_t object_bytes = 200'000, small_bytes = 50'000;
constexpr int64_t block_bytes = 16 << 10;

std::vector<Row> rows() {
    const auto header = [](const char* name, const char* value) {
        return FaultRule{.fault = Fault::header, .name = name, .value = value};
    };
    using enum Operation;
    return {
        // clang-format off
        //                                                                   get … head get … head
        {{.fault = Fault::status, .status = 500, .code = "InternalError"},  "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::status, .status = 503, .code = "SlowDown"},       "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::status, .status = 429, .code = "TooManyRequests", .retry_after = "0"},
                                                                            "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::status, .operations = {put, upload_part}, .status = 400, .code = "BadDigest"},
                                                                            "--OOO--", "--SSS--"},
        {{.fault = Fault::status, .status = 403, .code = "AccessDenied"},   "SSSSSSS", "SSSSSSS", "1111111"},
        {{.fault = Fault::status, .status = 401, .code = "Unauthorized"},   "SSSSSSS", "SSSSSSS", "1111111"},
        {{.fault = Fault::early_status},                                    "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::echo, .code = "AccessDenied"},                    "SSSSSSS", "SSSSSSS", "1111111"},
        {{.fault = Fault::reset_before},                                    "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::reset_unstored},                                  "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::reset_stored},                                    "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::reset_middle, .bytes = 100},                      "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::stall},                                           "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::stall_middle, .bytes = 100},                      "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::drip, .bytes_per_s = 1000},                       "OOOO-O-", "SSOO-S-"},
        {{.fault = Fault::drip_all, .bytes_per_s = 200},                    "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::truncated, .bytes = 50},                          "OOOOOOO", "SSSSSSO"},
        {{.fault = Fault::short_length, .bytes = 10},                       "LOOOSSL", "LSOOSSL"},
        {{.fault = Fault::shorter, .bytes = 10},                            "LOOOSSL", "LSOOSSL"},
        {{.fault = Fault::oversized, .bytes = 10},                          "IOOOSSL", "ISOOSSL"},
        {{.fault = Fault::overrun, .bytes = 10},                            "OOOOOOO", "OOOOOOO"},
        {{.fault = Fault::chunked},                                         "OOOOOOS", "OOOOOOS"},
        {{.fault = Fault::endless},                                         "IOSSSSS", "ISSSSSS"},
        {header("ETag", "\"00000000000000000000000000000000\""),            "OOOOOOL", "OISOSOL"},
        {header("ETag", ""),                                                "OOOOOOO", "OOSOSOO"},
        {header("Content-Range", "bytes 0-65534/200000"),                   "OOOOOOO", "OSOOOOO"},
        {header("Content-Range", ""),                                       "OOOOOOO", "OSOOOOO"},
        {header("Last-Modified", ""),                                       "SSOOOOS", "SSOOOOS"},
        {header("Last-Modified", "yesterday"),                              "SSOOOOS", "SSOOOOS"},
        {header("Content-Encoding", "gzip"),                                "OOOOOOO", "OOOOOOO"},
        {header("Transfer-Encoding", "gzip, chunked"),                      "OOOOOOO", "SSSSSSS"},
        {header("Date", "never"),                                           "OOOOOOO", "OOOOOOO"},
        {{.fault = Fault::ignore_range},                                    "OOOOOOO", "OOOOOOO"},
        {{.fault = Fault::flip, .bytes = 100},                              "LOOO--O", "LIOO--O"},
        {{.fault = Fault::error_in_200, .operations = {put, complete_upload}, .code = "InternalError"},
                                                                            "OOOOOOO", "OOSSSOO"},
        {{.fault = Fault::header_bomb, .bytes = 1 << 20},                   "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::header_bomb, .bytes = 1 << 20, .value = "one line"},
                                                                            "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::garbage},                                         "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::continues},                                       "OOOOOOO", "SSSSSSS"},
        {{.fault = Fault::list_stuck, .operations = {list}},                "-----S-", "-----S-", "-----2-"},
        {{.fault = Fault::malformed_xml, .operations = {list, create_upload, complete_upload}},
                                                                            "----SS-", "----SS-"},
        {{.fault = Fault::body, .operations = {list}, .bytes = 3 << 20, .value = "<a>"},
                                                                            "-------", "-----S-"},
        {{.fault = Fault::body, .operations = {list}, .bytes = 3 << 20,
          .name = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;&b;\">]><a>", .value = "&c;"},
                                                                            "-------", "-----S-"},
        {{.fault = Fault::body, .operations = {list}, .bytes = 100,
          .name = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>../../etc</Key>"
                  "<Size>1</Size><LastModified>2024-01-01T00:00:00Z</LastModified></Contents>"
                  "</ListBucketResult>"},
                                                                            "-------", "-----S-"},
        // clang-format on
    };
}

struct Outcome {
    char letter = '?';
    std::string error;  // or what else is to be said
    double seconds = 0;
    int64_t requests = 0;
};

char letter_of(const Error& error) {
    return error.code() == ExitCode::storage ? 'S' : error.code() == ExitCode::input ? 'I' : '!';
}

// Looks at blocks of 16 KiB as they arrive, as payloads do.
struct BlockCheck {
    const Bytes& truth;
    std::vector<ByteRange> operator()(ByteSpan object, ByteRange arrived) const {
        std::vector<ByteRange> bad;
        for (int64_t begin = arrived.begin / block_bytes * block_bytes; begin < arrived.end;
             begin += block_bytes) {
            const int64_t end = std::min(begin + block_bytes, std::ssize(truth));
            const int64_t from = std::max(begin, arrived.begin), to = std::min(end, arrived.end);
            if (!std::equal(object.begin() + from, object.begin() + to, truth.begin() + from))
                bad.push_back({begin, end});
        }
        return bad;
    }
};

// One operation with one fault: a server, a transport and a client of its own.
struct Cell {
    explicit Cell(int64_t budget_ms)
        : client(transport, location_of(server, "bucket"), our_credentials, hasty(budget_ms)) {
        server.add_key(our_key);
        server.add_bucket("bucket");
        server.store("bucket", "small", small);
        server.store("bucket", "large", large);
        server.set_modified("bucket", "small", 1'700'000'000'000);
        for (int i = 0; i < 100; ++i) server.store("bucket", fmt::format("many/{:03}", i), Bytes(3));
    }

    Outcome run(S3Client& with, Column column) {
        Outcome outcome;
        server.forget_counts();
        const auto begun = std::chrono::steady_clock::now();
        try {
            outcome.letter = perform(with, column) ? 'O' : 'L';
        } catch (const Error& error) {
            outcome.letter = letter_of(error);
            outcome.error = error.what();
        } catch (const std::exception& error) {
            outcome.error = std::string("not an Error: ") + error.what();
        }
        outcome.seconds = seconds_since(begun);
        outcome.requests = server.counters().all_requests;
        return outcome;
    }

    // True when all is as it should be.
    bool perform(S3Client& with, Column column) {
        switch (column) {
            case get: {
                const auto found = with.get("small", small_bytes);
                return found && found->first == small && found->second.modified_ms == 1'700'000'000'000;
            }
            case fetch: {
                const auto found = with.fetch("large", object_bytes, 0, BlockCheck{large});
                return found && found->first == large;
            }
            case put:
                with.put("new", small);
                return stored("new", small);
            case create:
                return with.create("new", small) && stored("new", small);
            case multi:
                return with.create("new", large) && stored("new", large);
            case list: {
                const auto found = with.list("many/", "many/009", 1000);
                return found.size() == 90 && found.front().key == "many/010" &&
                       found.back().key == "many/099" && found.front().size == 3;
            }
            case head: {
                const auto found = with.head("small");
                return found && found->size == small_bytes && found->modified_ms == 1'700'000'000'000 &&
                       (found->etag.empty() || found->etag == server.find("bucket", "small")->etag);
            }
            case columns:
                break;
        }
        return false;
    }

    bool stored(const std::string& key, const Bytes& bytes) const {
        const std::optional<Stored> found = server.find("bucket", key);
        return found && found->bytes == bytes;
    }

    const Bytes small = sample_bytes(small_bytes, 1), large = sample_bytes(object_bytes, 2);
    Server server{{.min_part_bytes = 1}};
    std::shared_ptr<Transport> transport = loopback_transport();
    S3Client client;
};

// The kinds of requests that the rule may strike, of those that an upload in parts makes.
std::vector<Operation> upload_steps(const FaultRule& rule) {
    std::vector<Operation> steps;
    for (const Operation step : {Operation::head, Operation::list_uploads, Operation::create_upload,
                                 Operation::upload_part, Operation::complete_upload})
        if (rule.operations.empty() ||
            std::find(rule.operations.begin(), rule.operations.end(), step) != rule.operations.end())
            steps.push_back(step);
    return steps;
}

void inject(Server& server, FaultRule rule, Column column, bool lasting) {
    if (lasting || column != multi) {
        rule.times = lasting ? INT64_MAX : 2;
        server.inject(rule);
        return;
    }
    for (const Operation step : upload_steps(rule)) {
        rule.operations = {step};
        server.inject(rule);
    }
}

struct Case {
    const Row* row;
    Column column;
    bool lasting;
    char expected;
    Outcome outcome{};
    std::string wrong{};  // beside the outcome
};

// Plenty, for machines that are busy, wherever the operation should end before.
constexpr int64_t ample_budget_ms = 10'000, short_budget_ms = 500;

void try_out(Case& test) {
    const bool to_the_end = test.lasting && test.expected == 'S' && test.row->tries.empty();
    const int64_t budget_ms = to_the_end ? short_budget_ms : ample_budget_ms;
    Cell cell(budget_ms);
    inject(cell.server, test.row->fault, test.column, test.lasting);
    test.outcome = cell.run(cell.client, test.column);
    const Outcome& outcome = test.outcome;

    const auto complain = [&test](std::string text) { test.wrong += text + "; "; };
    const double pages = test.column == list ? 2 : 1;  // list: a budget a page, and one more
    if (outcome.seconds > pages * (static_cast<double>(budget_ms) / 1000 + 0.8) + 1) complain("hung");
    if (outcome.requests > 120) complain("too many requests");
    if (const auto tries = test.row->tries; test.lasting && !tries.empty() && tries[test.column] != '-' &&
                                            outcome.requests > tries[test.column] - '0')
        complain("tried again in vain");
    if (tells_secrets(outcome.error)) complain("secrets told");
    if (outcome.error.find('\r') != std::string::npos || outcome.error.size() > 3000)
        complain("raw text told");
    const auto written = cell.server.find("bucket", "new");
    if (written && (test.column == create || test.column == multi) && written->times_stored != 1)
        complain("a write-once key was written twice");
    if (written && written->bytes != (test.column == multi ? cell.large : cell.small))
        complain("other bytes stored");

    // What the fault left behind must not spoil what comes after it on the same connections.
    cell.server.heal();
    S3Client patient(cell.transport, location_of(cell.server, "bucket"), our_credentials,
                     hasty(ample_budget_ms));
    const Outcome after = cell.run(patient, get);
    if (after.letter != 'O') complain("afterwards: " + std::string(1, after.letter) + " " + after.error);
}

}  // namespace

TEST_CASE("every fault against every operation ends as it should, in time, and tells no secrets") {
    const std::vector<Row> table = rows();
    std::vector<Case> cases;
    for (const Row& row : table)
        for (int column = 0; column < columns; ++column)
            for (const bool lasting : {false, true})
                if (const char expected = (lasting ? row.lasting : row.passing)[static_cast<size_t>(column)];
                    expected != '-')
                    cases.push_back({&row, static_cast<Column>(column), lasting, expected});
    in_parallel(32, cases.size(), [&](size_t i) { try_out(cases[i]); });
    for (const Case& test : cases) {
        const FaultRule& fault = test.row->fault;
        INFO(std::string(fault_name(fault.fault)), " ", fault.status, " ", fault.name, " ",
             fault.value.substr(0, 40), ", ", std::string(column_names[test.column]),
             std::string(test.lasting ? ", always" : ", at times"), ": ", test.outcome.requests,
             " requests, ", test.outcome.seconds, " s: ", test.outcome.error);
        CHECK(std::string(1, test.outcome.letter) == std::string(1, test.expected));
        CHECK(test.wrong == "");
    }
    MESSAGE(cases.size(), " cases");
}
