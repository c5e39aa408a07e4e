#include "base/strict_json.h"

#include "base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <set>

namespace templar {

namespace {

using nlohmann::json;

constexpr int max_depth = 16;

// What both directions check.
class Checks : public JsonFields {
  protected:
    Checks(std::string what, std::string path) : what_(std::move(what)), path_(std::move(path)) {}

    std::string name(const char* key) const override { return fmt::format("{}: {}{}", what_, path_, key); }
    std::string below(std::string_view key) const { return fmt::format("{}{}.", path_, key); }

    void check_integer(const char* key, int64_t value, int64_t low, int64_t high) const {
        if (value < low || value > high)
            fail(ExitCode::input, "{}: expected an integer from {} to {}, found {}", name(key), low, high,
                 value);
    }
    void check_number(const char* key, double value, double low, double high) const {
        if (std::isfinite(value) && value >= low && value <= high) return;
        if (low == -any_double && high == any_double)
            fail(ExitCode::input, "{}: expected a finite number, found {}", name(key), value);
        fail(ExitCode::input, "{}: expected a number from {} to {}, found {}", name(key), low, high, value);
    }
    void check_count(const char* key, size_t count, size_t max_count) const {
        if (count > max_count)
            fail(ExitCode::input, "{}: expected at most {} entries, found {}", name(key), max_count, count);
    }
    void check_text(const char* key, const std::string& value, size_t max_bytes) const {
        if (value.size() > max_bytes)
            fail(ExitCode::input, "{}: expected at most {} bytes, found {}", name(key), max_bytes,
                 value.size());
    }

    std::string what_, path_;
};

bool is_utf8(const std::string& text) {
    try {
        json(text).dump();
        return true;
    } catch (const json::exception&) {
        return false;
    }
}

// The shortest decimal number that is read back as the same float.
double readable(float value) {
    const double decimal = std::strtod(fmt::format("{}", value).c_str(), nullptr);
    return static_cast<float>(decimal) == value ? decimal : value;
}

class Writer final : public Checks {
  public:
    Writer(json& out, std::string what, std::string path = "")
        : Checks(std::move(what), std::move(path)), out_(out) {
        out_ = json::object();
    }
    using JsonFields::integer;

    void integer(const char* key, int64_t& value, int64_t low, int64_t high) override {
        check_integer(key, value, low, high);
        out_[key] = value;
    }
    void number(const char* key, double& value, double low, double high) override {
        check_number(key, value, low, high);
        out_[key] = value;
    }
    void number(const char* key, float& value, double low, double high) override {
        check_number(key, value, low, high);
        out_[key] = readable(value);
    }
    void boolean(const char* key, bool& value) override { out_[key] = value; }
    void text(const char* key, std::string& value, size_t max_bytes) override {
        check_text(key, value, max_bytes);
        if (!is_utf8(value)) fail(ExitCode::input, "{}: expected UTF-8 text", name(key));
        out_[key] = value;
    }
    void note(const char* key, std::string& value, size_t max_bytes) override {
        std::string text = value;
        if (!is_utf8(text))
            std::replace_if(
                text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
        if (text.size() > max_bytes) {
            size_t end = max_bytes;
            while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // never inside a character
            text.resize(end);
        }
        out_[key] = text;
    }
    void bits(const char* key, uint32_t& value) override { out_[key] = fmt::format("{:08x}", value); }
    void digest(const char* key, Digest& value) override { out_[key] = to_hex(value); }
    void digests(const char* key, std::vector<Digest>& values, size_t max_count) override {
        check_count(key, values.size(), max_count);
        out_[key] = json::array();
        for (const Digest& value : values) out_[key].push_back(to_hex(value));
    }
    void pairs(const char* key, std::vector<std::pair<int64_t, int64_t>>& values, size_t max_count,
               int64_t low, int64_t high) override {
        check_count(key, values.size(), max_count);
        out_[key] = json::array();
        for (const auto& [first, second] : values) {
            check_integer(key, first, low, high);
            check_integer(key, second, low, high);
            out_[key].push_back({first, second});
        }
    }
    void shares(const char* key, std::map<Digest, double>& values, size_t max_count, double low,
                double high) override {
        check_count(key, values.size(), max_count);
        out_[key] = json::object();
        for (const auto& [digest, share] : values) {
            check_number(key, share, low, high);
            out_[key][to_hex(digest)] = share;
        }
    }
    void object(const char* key, const Fields& fields) override {
        Writer writer(out_[key], what_, below(key));
        fields(writer);
    }

  private:
    void choice_index(const char* key, size_t& index, std::span<const std::string_view> names) override {
        out_[key] = names[index];
    }
    void object_list(const char* key, size_t count, size_t max_count, const std::function<void(size_t)>&,
                     const std::function<void(JsonFields&, size_t)>& each) override {
        check_count(key, count, max_count);
        out_[key] = json::array();
        for (size_t i = 0; i < count; ++i) {
            out_[key].emplace_back();
            Writer writer(out_[key].back(), what_, below(fmt::format("{}[{}]", key, i)));
            each(writer, i);
        }
    }
    void object_map(const char* key, const std::vector<Digest>& names, size_t max_count,
                    const std::function<void()>&,
                    const std::function<void(JsonFields&, const Digest&)>& each) override {
        check_count(key, names.size(), max_count);
        out_[key] = json::object();
        for (const Digest& digest : names) {
            const std::string hex = to_hex(digest);
            Writer writer(out_[key][hex], what_, below(fmt::format("{}.{}", key, hex)));
            each(writer, digest);
        }
    }

    json& out_;
};

// A value as it may stand in a message.
std::string shown(const json& value) {
    if (value.is_object()) return "an object";
    if (value.is_array()) return fmt::format("a list of {}", value.size());
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 60) + "…";
    return text;
}

class Reader final : public Checks {
  public:
    Reader(const json& in, std::string what, std::string path = "")
        : Checks(std::move(what), std::move(path)), in_(in) {
        if (!in_.is_object())
            fail(ExitCode::input, "{}: {}: expected an object, found {}", what_, place(), shown(in_));
    }
    using JsonFields::integer;

    // Everything there must have been asked for.
    void finish() const {
        for (const auto& [key, value] : in_.items())
            if (!used_.contains(key))
                fail(ExitCode::input, "{}: {}: expected no key {}, found {}", what_, place(),
                     shown(json(key)), shown(value));
    }

    void integer(const char* key, int64_t& value, int64_t low, int64_t high) override {
        value = as_integer(key, take(key), low, high);
    }
    void number(const char* key, double& value, double low, double high) override {
        value = as_number(key, take(key), low, high);
    }
    void number(const char* key, float& value, double low, double high) override {
        const double wide = as_number(key, take(key), low, high);
        constexpr double max_float = std::numeric_limits<float>::max();
        check_number(key, wide, -max_float, max_float);
        value = static_cast<float>(wide);
    }
    void boolean(const char* key, bool& value) override {
        const json& found = take(key);
        if (!found.is_boolean()) wrong(key, "true or false", found);
        value = found.get<bool>();
    }
    void text(const char* key, std::string& value, size_t max_bytes) override {
        value = as_text(key, take(key));
        check_text(key, value, max_bytes);
    }
    void note(const char* key, std::string& value, size_t max_bytes) override { text(key, value, max_bytes); }
    void bits(const char* key, uint32_t& value) override {
        const json& found = take(key);
        const std::string& hex = as_text(key, found);
        if (hex.size() != 8 || hex.find_first_not_of("0123456789abcdef") != std::string::npos)
            wrong(key, "8 lower-case hexadecimal digits", found);
        value = static_cast<uint32_t>(std::strtoul(hex.c_str(), nullptr, 16));
    }
    void digest(const char* key, Digest& value) override { value = as_digest(key, take(key)); }
    void digests(const char* key, std::vector<Digest>& values, size_t max_count) override {
        values.clear();
        for (const json& value : as_list(key, take(key), max_count)) values.push_back(as_digest(key, value));
    }
    void pairs(const char* key, std::vector<std::pair<int64_t, int64_t>>& values, size_t max_count,
               int64_t low, int64_t high) override {
        values.clear();
        for (const json& pair : as_list(key, take(key), max_count)) {
            if (!pair.is_array() || pair.size() != 2) wrong(key, "a list of two integers", pair);
            values.emplace_back(as_integer(key, pair[0], low, high), as_integer(key, pair[1], low, high));
        }
    }
    void shares(const char* key, std::map<Digest, double>& values, size_t max_count, double low,
                double high) override {
        const json& found = as_object(key, take(key), max_count);
        values.clear();
        for (const auto& [hex, share] : found.items())
            values[as_digest(key, json(hex))] = as_number(key, share, low, high);
    }
    void object(const char* key, const Fields& fields) override {
        Reader reader(take(key), what_, below(key));
        fields(reader);
        reader.finish();
    }

  private:
    void choice_index(const char* key, size_t& index, std::span<const std::string_view> names) override {
        const json& found = take(key);
        const auto place = std::find(names.begin(), names.end(), as_text(key, found));
        if (place == names.end()) {
            std::string all;
            for (std::string_view choice : names) all += fmt::format("{}{}", all.empty() ? "" : ", ", choice);
            wrong(key, "one of " + all, found);
        }
        index = static_cast<size_t>(place - names.begin());
    }
    void object_list(const char* key, size_t, size_t max_count, const std::function<void(size_t)>& resize,
                     const std::function<void(JsonFields&, size_t)>& each) override {
        const json& list = as_list(key, take(key), max_count);
        resize(list.size());
        for (size_t i = 0; i < list.size(); ++i) {
            Reader reader(list[i], what_, below(fmt::format("{}[{}]", key, i)));
            each(reader, i);
            reader.finish();
        }
    }
    void object_map(const char* key, const std::vector<Digest>&, size_t max_count,
                    const std::function<void()>& clear,
                    const std::function<void(JsonFields&, const Digest&)>& each) override {
        const json& found = as_object(key, take(key), max_count);
        clear();
        for (const auto& [hex, value] : found.items()) {
            Reader reader(value, what_, below(fmt::format("{}.{}", key, hex)));
            each(reader, as_digest(key, json(hex)));
            reader.finish();
        }
    }

    std::string place() const { return path_.empty() ? "the text" : path_.substr(0, path_.size() - 1); }
    [[noreturn]] void wrong(const char* key, std::string_view expected, const json& found) const {
        fail(ExitCode::input, "{}: expected {}, found {}", name(key), expected, shown(found));
    }
    const json& take(const char* key) {
        const auto found = in_.find(key);
        if (found == in_.end()) fail(ExitCode::input, "{}: expected this key, found none", name(key));
        used_.insert(key);
        return *found;
    }
    int64_t as_integer(const char* key, const json& found, int64_t low, int64_t high) const {
        const bool too_large = found.is_number_unsigned() && found.get<uint64_t>() > uint64_t{INT64_MAX};
        if (!found.is_number_integer() || too_large)
            wrong(key, fmt::format("an integer from {} to {}", low, high), found);
        check_integer(key, found.get<int64_t>(), low, high);
        return found.get<int64_t>();
    }
    double as_number(const char* key, const json& found, double low, double high) const {
        if (!found.is_number()) wrong(key, "a number", found);
        check_number(key, found.get<double>(), low, high);
        return found.get<double>();
    }
    const std::string& as_text(const char* key, const json& found) const {
        if (!found.is_string()) wrong(key, "a text", found);
        return found.get_ref<const std::string&>();
    }
    Digest as_digest(const char* key, const json& found) const {
        const std::string& hex = as_text(key, found);
        if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != std::string::npos)
            wrong(key, "64 lower-case hexadecimal digits", found);
        return digest_from_hex(hex, key);
    }
    const json& as_list(const char* key, const json& found, size_t max_count) const {
        if (!found.is_array()) wrong(key, "a list", found);
        check_count(key, found.size(), max_count);
        return found;
    }
    const json& as_object(const char* key, const json& found, size_t max_count) const {
        if (!found.is_object()) wrong(key, "an object", found);
        check_count(key, found.size(), max_count);
        return found;
    }

    const json& in_;
    std::set<std::string, std::less<>> used_;
};

}  // namespace

// nlohmann::json keeps the last of repeated keys; two readers of one signed text must not see different
// values.
json parse_json(std::string_view text, std::string_view what) {
    std::vector<std::set<std::string>> keys;
    const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& value) {
        if (depth > max_depth) fail(ExitCode::input, "{}: nested deeper than {} levels", what, max_depth);
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        if (event == json::parse_event_t::object_end) keys.pop_back();
        if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
            fail(ExitCode::input, "{}: the key {} stands twice", what, shown(value));
        return true;
    };
    try {
        return json::parse(text, watch);
    } catch (const json::exception& error) {
        fail(ExitCode::input, "{}: not JSON: {}", what, error.what());
    }
}

void JsonFields::integer(const char* key, int32_t& value, int64_t low, int64_t high) {
    int64_t wide = value;
    integer(key, wide, std::max<int64_t>(low, INT32_MIN), std::min<int64_t>(high, INT32_MAX));
    value = static_cast<int32_t>(wide);
}

void JsonFields::require(const char* key, bool good, std::string_view expected) const {
    if (!good) fail(ExitCode::input, "{}: expected {}", name(key), expected);
}

std::string write_json(std::string_view what, const JsonFields::Fields& fields, int indent) {
    json out;
    Writer writer(out, std::string(what));
    fields(writer);
    return out.dump(indent) + (indent < 0 ? "" : "\n");
}

void read_json(std::string_view text, std::string_view what, const JsonFields::Fields& fields) {
    const json in = parse_json(text, what);
    Reader reader(in, std::string(what));
    fields(reader);
    reader.finish();
}

}  // namespace templar
