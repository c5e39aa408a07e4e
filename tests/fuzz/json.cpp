// JSON from strangers: what parse_json accepts has one meaning, and what read_json accepts is written back
// and read again as the same bits.
#include "base/strict_json.h"
#include "tests/fuzz/target.h"

#include <nlohmann/json.hpp>

using namespace templar;
using namespace templar::fuzz;

namespace {

struct Everything {
    int64_t integer = 0;
    double number = 0;
    float small = 0;
    bool flag = false;
    std::string text, note;
    uint32_t bits = 0;
    Digest digest{};
    std::vector<Digest> digests;
    std::vector<std::pair<int64_t, int64_t>> pairs;
    std::map<Digest, double> shares;
    int choice = 0;
    std::vector<Everything> list;
    std::map<Digest, int64_t> map;
};

constexpr std::string_view names[] = {"zero", "one", "two"};

void describe(JsonFields& f, Everything& all, int depth) {
    f.integer("integer", all.integer, INT64_MIN, INT64_MAX);
    f.number("number", all.number, -any_double, any_double);
    f.number("small", all.small, -any_double, any_double);
    f.boolean("flag", all.flag);
    f.text("text", all.text, 40);
    f.note("note", all.note, 20);
    f.bits("bits", all.bits);
    f.digest("digest", all.digest);
    f.digests("digests", all.digests, 4);
    f.pairs("pairs", all.pairs, 4, -100, INT64_MAX);
    f.shares("shares", all.shares, 4, 0, 1);
    f.choice("choice", all.choice, names);
    if (depth == 0) return;
    f.objects("list", all.list, 4,
              [&](JsonFields& g, Everything& element) { describe(g, element, depth - 1); });
    f.objects("map", all.map, 4, [](JsonFields& g, int64_t& value) { g.integer("value", value, 0, 255); });
}

Everything read(std::string_view text) {
    Everything all;
    read_json(text, "everything", [&](JsonFields& f) { describe(f, all, 1); });
    return all;
}
std::string write(Everything all) {
    return write_json("everything", [&](JsonFields& f) { describe(f, all, 1); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text = as_text({data, size});
    if (const auto document = accepted([&] { return parse_json(text, "text"); })) {
        const std::string again = document->dump(-1, ' ', true);
        require(parse_json(again, "again") == *document, "a document written is read as the same");
    }
    if (const auto all = accepted([&] { return read(text); })) {
        const std::string again = write(*all);
        require(write(read(again)) == again, "fields written are read as the same");
    }
    return 0;
}
