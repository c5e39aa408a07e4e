// <t|j><block size><a file>: documents of a text or JSONL file are the same in blocks of any size, whole characters of
// text, and what another reader of JSON finds.
#include "base/strict_json.h"
#include "tests/fuzz/memory_file.h"
#include "tokenizer/documents.h"
#include "tokenizer/json_line.h"
#include "tokenizer/utf8.h"

#include <nlohmann/json.hpp>

using namespace templar;
using namespace templar::fuzz;

namespace {

using Texts = std::vector<std::string>;

std::optional<Texts> documents_in(const templar::Input& input, size_t block_bytes) {
    const Cut cut = [](std::string_view text, size_t from) { return std::min(text.find(' ', from), text.size()); };
    return accepted([&] {
        FileBlocks blocks({input}, cut, {.block_bytes = block_bytes, .largest_document = 1 << 20});
        Texts texts;
        bool open = false;
        while (const auto block = blocks.next({})) {
            for_each_piece(*block, "text", [&](const Piece& piece) {
                require(piece.begins != open, "pieces follow one another");
                if (piece.begins) texts.emplace_back();
                texts.back() += piece.text;
                open = !piece.ends;
            });
        }
        require(!open, "the last document ends");
        return texts;
    });
}

void check_line(std::string_view line) {
    const auto text = accepted([&] {
        std::string found;
        read_json_text(line, "text", found);
        return found;
    });
    const nlohmann::json other = nlohmann::json::parse(line, nullptr, false);
    if (!text) return;
    require(find_invalid_utf8(*text) == std::string_view::npos, "what is read is UTF-8");
    // A number may be too large for it.
    if (!other.is_discarded()) require(other.at("text") == *text, "another reader finds the same text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    fuzz::Input input(data, size);
    const Form form = input.number() == 'j' ? Form::jsonl : Form::text;
    const size_t block_bytes = 1 + input.number();
    const ByteSpan file = input.rest();
    if (form == Form::jsonl) check_line(as_text(file));
    const MemoryFile on_disk(file);
    const templar::Input given{on_disk.path(), form};
    const auto whole = documents_in(given, 1 << 20), parts = documents_in(given, block_bytes);
    // A document of a megabyte, which a compressed file may hold, fits in blocks of some sizes only.
    const std::string_view magic = as_text(file).substr(std::min<size_t>(1, file.size()), 3);
    const bool compressed = magic.starts_with("\x8b") || magic == "\xb5\x2f\xfd" || magic == "\x2a\x4d\x18";
    if (compressed && (!whole || !parts)) return 0;
    require(whole.has_value() == parts.has_value() && (!whole || *whole == *parts), "blocks of any size give the same");
    if (!whole || form == Form::jsonl) return 0;
    for (const std::string& document : *whole)
        require(find_invalid_utf8(document) == std::string_view::npos, "documents are UTF-8");
    if (compressed) return 0;
    const auto split = split_documents(as_text(file));
    require(Texts(split.begin(), split.end()) == *whole, "a text in memory has the same documents");
    return 0;
}
