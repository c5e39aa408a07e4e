#include "net/s3/credentials.h"

#include "base/error.h"
#include "base/file.h"
#include "net/s3/sign.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace templar {

namespace {

constexpr size_t max_file_bytes = 64 * 1024;
constexpr size_t max_read_bytes = 16 * 1024;  // of a text to be redacted
constexpr size_t max_redacted_bytes = 2000;
constexpr std::string_view blanks = " \t";

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

std::string_view trim(std::string_view text) {
    const size_t first = text.find_first_not_of(blanks);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// "" when it is not set.
std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

// The number of bytes of the UTF-8 character that `text` begins with when a terminal shows it as it is; 0
// for anything malformed, for control characters, and for those that turn the direction of writing.
size_t shown_character(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t lead = byte(0);
    if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    const size_t size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (size == 0 || size > text.size()) return 0;
    uint32_t code = lead & (0x7fu >> size);
    for (size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return 0;
        code = code << 6 | (byte(i) & 0x3fu);
    }
    constexpr uint32_t smallest[] = {0, 0, 0xa0, 0x800, 0x10000};
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    const bool turns = (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                       (code >= 0x2066 && code <= 0x2069);
    return code < smallest[size] || code > 0x10ffff || surrogate || turns ? 0 : size;
}

void append_escaped(std::string& out, std::string_view text) {
    while (!text.empty()) {
        const size_t size = shown_character(text);
        if (size > 0)
            out += text.substr(0, size);
        else
            out += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[0]));
        text.remove_prefix(std::max<size_t>(size, 1));
    }
}

std::string escaped(std::string_view text) {
    std::string out;
    append_escaped(out, text.substr(0, 100));
    return out;
}

std::string read_key_file(const std::filesystem::path& path) {
    const std::string name = path.string();
    // A pipe in its place must not hold us.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file)
        fail(ExitCode::identity,
             "cannot open S3 key file {}: {}; expected a file of mode 0600 with the lines [default], "
             "aws_access_key_id = …, aws_secret_access_key = …, or these two in the environment "
             "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
             name, std::strerror(errno));
    struct stat info {};
    if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
        fail(ExitCode::identity, "S3 key file {} is not a regular file", name);
    if (info.st_uid != ::geteuid())
        fail(ExitCode::identity,
             "S3 key file {} (or what it links to) belongs to user {}, expected user {}, who runs this; make "
             "a copy of your own, mode 0600",
             name, info.st_uid, ::geteuid());
    if ((info.st_mode & 077) != 0)
        fail(ExitCode::identity,
             "S3 key file {} has mode {:04o}: others may use it; expected 0600, type: chmod 600 '{}'", name,
             info.st_mode & 07777, name);
    std::string text(max_file_bytes + 1, '\0');
    text.resize(read_at(file, 0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}, name));
    if (text.size() > max_file_bytes)
        fail(ExitCode::identity, "S3 key file {} is longer than {} bytes; expected a few lines", name,
             max_file_bytes);
    return text;
}

// Never shows the value.
void check_value(std::string_view value, std::string_view where) {
    const bool printable =
        std::all_of(value.begin(), value.end(), [](char c) { return c > ' ' && c < 0x7f; });
    if (!printable) fail(ExitCode::identity, "{} has a blank, control or non-ASCII character in it", where);
    if (!value.empty() && (value.front() == '"' || value.front() == '\''))
        fail(ExitCode::identity, "{} is in quotation marks; remove them", where);
}

// One pass over the file: the settings of one section, and which sections there are.
class ProfileReader {
  public:
    ProfileReader(std::string file, std::string wanted)
        : file_(std::move(file)), wanted_(std::move(wanted)) {}

    S3Profile read(std::string_view text) {
        while (!text.empty()) {
            const size_t end = std::min(text.find('\n'), text.size());
            std::string_view line = text.substr(0, end);
            text.remove_prefix(std::min(end + 1, text.size()));
            ++line_;
            if (line.ends_with('\r')) line.remove_suffix(1);
            read_line(line);
        }
        return profile();
    }

  private:
    [[noreturn]] void malformed(std::string_view what) const {
        fail(ExitCode::identity, "S3 key file {}, line {}: {}", file_, line_, what);
    }

    void read_line(std::string_view raw) {
        const std::string_view line = trim(raw);
        if (line.empty() || line[0] == '#' || line[0] == ';') return;
        // "s3 =" and, indented below it, settings of its own.
        if (nested_ && blanks.find(raw[0]) != blanks.npos) return;
        if (line[0] == '[')
            read_section(line);
        else
            read_setting(line);
    }

    void read_section(std::string_view line) {
        nested_ = false;
        if (!line.ends_with(']')) malformed("expected a section [name]");
        std::string_view name = trim(line.substr(1, line.size() - 2));
        if (name.starts_with("profile ") || name.starts_with("profile\t")) name = trim(name.substr(8));
        if (name.empty()) malformed("expected a section [name]");
        in_section_ = true;
        inside_ = name == wanted_;
        if (inside_ && found_) malformed(fmt::format("section [{}] is there twice", escaped(name)));
        found_ = found_ || inside_;
        if (sections_.size() < 20) sections_.push_back("[" + escaped(name) + "]");
    }

    void read_setting(std::string_view line) {
        const size_t equals = line.find('=');
        const std::string name = lower(trim(line.substr(0, equals)));
        if (equals == line.npos || name.empty()) malformed("expected name = value or [section]");
        if (!in_section_) malformed("a setting before the first [section]");
        const std::string_view value = trim(line.substr(equals + 1));
        nested_ = value.empty();
        if (!inside_ || std::find(settings.begin(), settings.end(), name) == settings.end()) return;
        const auto [place, is_new] = values_.try_emplace(name, Setting{std::string(value), line_});
        if (!is_new) malformed(fmt::format("{} is there twice, first in line {}", name, place->second.line));
        check_value(value, fmt::format("S3 key file {}, line {}: {}", file_, line_, name));
    }

    std::string value(std::string_view name) const {
        const auto place = values_.find(name);
        return place == values_.end() ? "" : place->second.value;
    }

    S3Profile profile() const {
        if (!found_) {
            std::string list;
            for (const std::string& section : sections_) list += (list.empty() ? "" : " ") + section;
            fail(ExitCode::identity, "S3 key file {} has no section [{}]; it has {}", file_, escaped(wanted_),
                 list.empty() ? "none at all" : list);
        }
        for (const char* name : {"aws_access_key_id", "aws_secret_access_key"})
            if (value(name).empty())
                fail(ExitCode::identity,
                     "S3 key file {}: section [{}] has no {} (keys are read from the file itself: no roles, "
                     "programs or single sign-on)",
                     file_, escaped(wanted_), name);
        return {.credentials = {value("aws_access_key_id"), value("aws_secret_access_key"),
                                value("aws_session_token")},
                .endpoint = value("endpoint_url"),
                .region = value("region")};
    }

    static constexpr std::array<std::string_view, 5> settings = {
        "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "endpoint_url", "region"};
    struct Setting {
        std::string value;
        int line;
    };
    std::string file_, wanted_;
    std::map<std::string, Setting, std::less<>> values_;
    std::vector<std::string> sections_;
    int line_ = 0;
    bool in_section_ = false, inside_ = false, found_ = false, nested_ = false;
};

std::filesystem::path default_key_file() {
    const std::string chosen = environment("AWS_SHARED_CREDENTIALS_FILE");
    if (!chosen.empty()) return chosen;
    const std::string home = environment("HOME");
    if (home.empty())
        fail(ExitCode::identity,
             "no S3 key file: $HOME is not set; give the file's path, or set "
             "AWS_SHARED_CREDENTIALS_FILE");
    return std::filesystem::path(home) / ".aws" / "credentials";
}

// Nothing when neither key is set.
S3Credentials environment_credentials() {
    const S3Credentials keys{environment("AWS_ACCESS_KEY_ID"), environment("AWS_SECRET_ACCESS_KEY"),
                             environment("AWS_SESSION_TOKEN")};
    if (keys.access_key_id.empty() != keys.secret_access_key.empty())
        fail(ExitCode::identity,
             "the environment has only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; set both, or "
             "neither to use the key file");
    check_value(keys.access_key_id, "AWS_ACCESS_KEY_ID in the environment");
    check_value(keys.secret_access_key, "AWS_SECRET_ACCESS_KEY in the environment");
    check_value(keys.session_token, "AWS_SESSION_TOKEN in the environment");
    return keys;
}

struct Hidden {
    size_t begin, end;
};

// The value after a name that ends at `place` of `text`: behind '=', ':' or '>' (of an XML tag), plain or
// percent-encoded, with or without quotation marks. Nothing when no value follows.
Hidden value_after(std::string_view text, size_t place, bool whole_line) {
    const auto skip = [&](std::string_view characters) {
        place = std::min(text.find_first_not_of(characters, place), text.size());
    };
    skip(" \t\"'\\");
    const std::string_view rest = text.substr(place);
    if (rest.starts_with("%3d") || rest.starts_with("%3a"))
        place += 3;
    else if (rest.starts_with('=') || rest.starts_with(':') || rest.starts_with('>'))
        place += 1;
    else
        return {place, place};
    skip(" \t\"'\\");
    const std::string_view ends = whole_line ? "\r\n\"<" : "\r\n\"'<>&,; \t";
    return {place, std::min(text.find_first_of(ends, place), text.size())};
}

// Every stretch of `text` (lower case) that nobody may see.
std::vector<Hidden> secret_stretches(std::string_view text, const S3Credentials& credentials) {
    std::vector<Hidden> hidden;
    for (const std::string& secret : {credentials.secret_access_key, credentials.session_token})
        for (const std::string& form :
             {lower(secret), lower(uri_encode(secret, false)), lower(uri_encode(secret, true))})
            for (size_t i = form.empty() ? text.npos : text.find(form); i != text.npos;
                 i = text.find(form, i + 1))
                hidden.push_back({i, i + form.size()});
    // "Credential=…, SignedHeaders=…, Signature=…" is how an Authorization value goes on.
    for (const std::string_view name : {"authorization", "x-amz-security-token", "x-amz-signature",
                                        "x-amz-credential", "signature=", "credential="})
        for (size_t i = text.find(name); i != text.npos; i = text.find(name, i)) {
            i += name.size();
            const size_t place = name.ends_with('=') ? i - 1 : i;
            hidden.push_back(value_after(text, place, name == "authorization"));
            i = hidden.back().end;
        }
    std::sort(hidden.begin(), hidden.end(), [](Hidden a, Hidden b) { return a.begin < b.begin; });
    return hidden;
}

}  // namespace

S3Profile find_profile(const std::string& name, const std::filesystem::path& file) {
    S3Profile profile;
    if (name.empty() && file.empty()) profile.credentials = environment_credentials();
    if (profile.credentials.empty()) {
        const std::filesystem::path path = file.empty() ? default_key_file() : file;
        std::string section = name.empty() ? environment("AWS_PROFILE") : name;
        if (section.empty()) section = "default";
        profile = ProfileReader(path.string(), section).read(read_key_file(path));
    }
    if (profile.endpoint.empty()) profile.endpoint = environment("AWS_ENDPOINT_URL_S3");
    if (profile.endpoint.empty()) profile.endpoint = environment("AWS_ENDPOINT_URL");
    if (profile.region.empty()) profile.region = environment("AWS_REGION");
    return profile;
}

std::string redact(std::string_view text, const S3Credentials& credentials) {
    text = text.substr(0, max_read_bytes);
    std::string out;
    size_t shown = 0;
    for (const auto [begin, end] : secret_stretches(lower(text), credentials)) {
        if (end <= std::max(begin, shown)) continue;
        if (begin > shown || shown == 0) {
            append_escaped(out, text.substr(shown, begin - shown));
            out += "[secret]";
        }
        shown = end;
    }
    append_escaped(out, text.substr(shown));
    if (out.size() <= max_redacted_bytes) return out;
    size_t cut = max_redacted_bytes - 3;  // room for "…", which is not put into a character
    while (cut > 0 && (static_cast<uint8_t>(out[cut]) & 0xc0) == 0x80) --cut;
    return out.substr(0, cut) + "…";
}

}  // namespace templar
