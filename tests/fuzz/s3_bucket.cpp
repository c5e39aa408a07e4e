// <operations> <c or k><number>\n<answers>: what a service may answer to a bucket's operations, through real
// sockets (see http.cpp; C and K: nothing is signed). "@s" and "@t" in an answer stand for the secret key and
// the token, as a service may echo them. Whatever it says: no other bytes than were asked for, no keys out of
// order, no secret in an error.
#include "net/bucket/s3_bucket.h"
#include "net/bucket/key.h"
#include "tests/fuzz/answer_server.h"

using namespace templar;
using namespace templar::fuzz;

namespace {

// Of letters that neither "[secret]" nor an escape is made of.
const S3Credentials keys{"AKIDEXAMPLE", "ghijk+lmnop/quvwyz", "zywvu/qponm+lkjihg"};

S3Policy hasty() {
    return {.get_part_bytes = 8,
            .put_part_bytes = 8,
            .multipart_bytes = 16,
            .budget_ms = 60,
            .stall_ms = 40,
            .first_pause_ms = 1,
            .longest_pause_ms = 1};
}

std::string filled_in(std::string_view text) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        const std::string_view mark = text.substr(i, 2);
        if (mark == "@s" || mark == "@t") {
            result += mark == "@s" ? keys.secret_access_key : keys.session_token;
            ++i;
        } else {
            result += text[i];
        }
    }
    return result;
}

void fetch(Bucket& bucket, int64_t length) {
    int times = 0;
    // Finds the first byte of every other part wrong.
    const ArrivalCheck check = [&](ByteSpan object, ByteRange arrived) -> std::vector<ByteRange> {
        require(std::ssize(object) == length && arrived.begin >= 0 && arrived.begin <= arrived.end &&
                    arrived.end <= length,
                "what arrives is in the object");
        if (++times % 2 == 0 || arrived.begin == arrived.end) return {};
        return {{arrived.begin, arrived.begin + 1}};
    };
    if (const auto object = bucket.fetch("payload/a", length, 60, check))
        require(std::ssize(object->bytes) == length && object->modified_ms >= 0, "a fetch is whole");
}

void list(Bucket& bucket, int64_t limit) {
    std::string last;
    const std::vector<ObjectInfo> objects = bucket.list("payload/", "", limit);
    require(std::ssize(objects) <= limit, "a listing has no more than was asked for");
    for (const ObjectInfo& object : objects) {
        check_key(object.key);
        require(object.key.starts_with("payload/") && object.key > last, "a listing ascends");
        require(object.size >= 0 && object.modified_ms >= 0, "a listed object has a size and a time");
        last = object.key;
    }
}

void get_many(Bucket& bucket, int64_t max_bytes) {
    const std::vector<std::string> asked = {"payload/a", "../b", "payload/c"};
    const std::vector<GetResult> found = bucket.get_many(asked, max_bytes);
    require(found.size() == asked.size(), "every key has a result");
    require(found[1].error && found[1].error->code() == ExitCode::input, "a bad key is refused");
    for (const GetResult& result : found)
        require(!result.object || std::ssize(result.object->bytes) <= max_bytes, "an object is bounded");
}

void operate(Bucket& bucket, char operation, int64_t number) {
    const Bytes sent(static_cast<size_t>(number), 'x');
    switch (operation) {
        case 'h':
            if (const auto info = bucket.head("payload/a"))
                require(info->size >= 0 && info->modified_ms >= 0, "an object has a size and a time");
            break;
        case 'g':
            if (const auto bytes = bucket.get("payload/a", number))
                require(std::ssize(*bytes) <= number, "an object is bounded");
            break;
        case 'r':
            if (const auto bytes = bucket.get_range("payload/a", 3, number))
                require(std::ssize(*bytes) == number, "a range is whole");
            break;
        case 'f':
            fetch(bucket, number);
            break;
        case 'm':
            get_many(bucket, number);
            break;
        case 'l':
            list(bucket, number);
            break;
        case 'c':
            bucket.create("payload/a", sent);
            break;
        case 'p':
            bucket.put("payload/a", sent);
            break;
        case 'd':
            bucket.remove("payload/a");
            break;
        case 'u':
            bucket.sweep_unfinished();
            break;
    }
}

void check_refusal(const Error& error, const S3Credentials& given) {
    const std::string_view message = error.what();
    require(error.code() == ExitCode::input || error.code() == ExitCode::storage,
            "a service's fault is input or storage");
    require(message.size() < 4096, "a message is bounded");
    require(std::ranges::none_of(message, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }),
            "no control characters in a message");
    for (const std::string& secret : {given.secret_access_key, given.session_token})
        require(secret.empty() || message.find(secret) == message.npos, "no message holds a secret");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static AnswerServer server;
    Input input(data, size);
    const std::string first(input.line());
    const size_t space = first.find(' ');
    if (space == std::string::npos || space > 4 || space + 1 == first.size()) return 0;
    const char mode = first[space + 1];
    const auto number = static_cast<int64_t>(std::strtoul(first.c_str() + space + 2, nullptr, 10) % 4096);
    server.set_answers(split_answers(filled_in(input.rest_text())), mode == 'c' || mode == 'C');
    const auto transport =
        std::make_shared<Transport>(Transport::Rules{.allow_http = true, .allow_private = true});
    const S3Location location =
        parse_s3_url(fmt::format("s3://bucket/run?endpoint=http://127.0.0.1:{}", server.port()));
    const bool is_public = mode == 'C' || mode == 'K';
    S3Bucket bucket(S3Client(transport, location, is_public ? S3Credentials{} : keys, hasty()));
    for (const char operation : first.substr(0, space)) try {
            operate(bucket, operation, number);
        } catch (const Error& error) {
            check_refusal(error, is_public ? S3Credentials{} : keys);
        }
    return 0;
}
