// S3 keys, and where an operator keeps them: never on a command line, never in a URL, never in a log.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace templar {

struct S3Credentials {
    std::string access_key_id{};
    std::string secret_access_key{};
    std::string session_token{};  // of temporary credentials; else empty
    bool empty() const { return access_key_id.empty(); }
    bool operator==(const S3Credentials&) const = default;
};

struct S3Profile {
    S3Credentials credentials;
    std::string endpoint;  // endpoint_url
    std::string region;
};

// The keys of profile `name` (the section [name] or [profile name] of an AWS-style file):
//   aws_access_key_id, aws_secret_access_key, aws_session_token, endpoint_url, region
// from `file` when it is given; else from $AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials. With an
// empty name: $AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and $AWS_SESSION_TOKEN when they are set and no file
// is given, else the profile $AWS_PROFILE, else `default`. $AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL and
// $AWS_REGION fill what the profile leaves open. Throws Error(identity) when the file is missing, a link's
// target of another user, readable by anyone but its owner (with the chmod to type), malformed (with the
// line), or has no such section (with the sections there are).
S3Profile find_profile(const std::string& name, const std::filesystem::path& file = {});

// `text` with every secret in it replaced by "[secret]": the given key's secret and token, and, whoever's
// they are, values of Authorization, x-amz-security-token, X-Amz-Signature, X-Amz-Credential and
// X-Amz-Security-Token; control characters (of a stranger's error body) escaped; cut at 2000 bytes.
std::string redact(std::string_view text, const S3Credentials& credentials);

}  // namespace templar
