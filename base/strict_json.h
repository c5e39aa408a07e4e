// JSON with every field named once: one description both writes a struct and reads it back, strictly. Reading
// refuses a missing key, an unknown or repeated one, another type, and a number out of range, naming the key,
// what was expected and what was found. Writing checks the same bounds, so that nothing is written that a
// reader would refuse.
//
//   void describe(JsonFields& f, Commit& commit) {
//       f.integer("window", commit.window, 0, max_window);
//       f.digest("hash", commit.hash);
//   }
#pragma once

#include "base/sha256.h"

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace templar {

inline constexpr double any_double = std::numeric_limits<double>::max();  // as a bound: every finite number

class JsonFields {
  public:
    using Fields = std::function<void(JsonFields&)>;
    virtual ~JsonFields() = default;

    virtual void integer(const char* key, int64_t& value, int64_t low, int64_t high) = 0;
    virtual void number(const char* key, double& value, double low,
                        double high) = 0;  // finite; same bits when read back
    virtual void number(const char* key, float& value, double low, double high) = 0;
    virtual void boolean(const char* key, bool& value) = 0;
    virtual void text(const char* key, std::string& value, size_t max_bytes) = 0;
    // For people: cut at max_bytes when written, bytes that are no UTF-8 replaced.
    virtual void note(const char* key, std::string& value, size_t max_bytes) = 0;
    virtual void bits(const char* key, uint32_t& value) = 0;  // 8 hexadecimal digits
    virtual void digest(const char* key, Digest& value) = 0;  // 64 lower-case hexadecimal digits
    virtual void digests(const char* key, std::vector<Digest>& values, size_t max_count) = 0;
    virtual void pairs(const char* key, std::vector<std::pair<int64_t, int64_t>>& values, size_t max_count,
                       int64_t low, int64_t high) = 0;
    virtual void shares(const char* key, std::map<Digest, double>& values, size_t max_count, double low,
                        double high) = 0;
    virtual void object(const char* key, const Fields& fields) = 0;

    void integer(const char* key, int32_t& value, int64_t low, int64_t high);
    // An enumeration by the names of its values 0, 1, …
    template <class Enum>
    void choice(const char* key, Enum& value, std::span<const std::string_view> names) {
        size_t index = static_cast<size_t>(value);
        choice_index(key, index, names);
        value = static_cast<Enum>(index);
    }
    // A list of objects; each(fields, element) describes one.
    template <class Element, class Describe>
    void objects(const char* key, std::vector<Element>& values, size_t max_count, Describe&& each) {
        object_list(
            key, values.size(), max_count, [&](size_t count) { values.resize(count); },
            [&](JsonFields& fields, size_t i) { each(fields, values[i]); });
    }
    // An object of such objects, by digest.
    template <class Element, class Describe>
    void objects(const char* key, std::map<Digest, Element>& values, size_t max_count, Describe&& each) {
        std::vector<Digest> names;
        for (const auto& [name, value] : values) names.push_back(name);
        object_map(
            key, names, max_count, [&] { values.clear(); },
            [&](JsonFields& fields, const Digest& name) { each(fields, values[name]); });
    }
    // Throws Error(input) unless `good`: for what ranges cannot say.
    void require(const char* key, bool good, std::string_view expected) const;

  protected:
    virtual void choice_index(const char* key, size_t& index, std::span<const std::string_view> names) = 0;
    virtual void object_list(const char* key, size_t count, size_t max_count,
                             const std::function<void(size_t)>& resize,
                             const std::function<void(JsonFields&, size_t)>& each) = 0;
    virtual void object_map(const char* key, const std::vector<Digest>& names, size_t max_count,
                            const std::function<void()>& clear,
                            const std::function<void(JsonFields&, const Digest&)>& each) = 0;
    // "run.json: model.layers"
    virtual std::string name(const char* key) const = 0;
};

// One object with sorted keys; `indent` < 0: on one line, else one key a line and a final newline.
std::string write_json(std::string_view what, const JsonFields::Fields& fields, int indent = -1);
// Throws Error(input) whose message begins with `what`.
void read_json(std::string_view text, std::string_view what, const JsonFields::Fields& fields);
// For files whose form others made: any JSON, but no key twice in an object, nor deeper than 16 levels.
nlohmann::json parse_json(std::string_view text, std::string_view what);

}  // namespace templar
