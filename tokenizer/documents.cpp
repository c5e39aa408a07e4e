#include "tokenizer/documents.h"

#include "base/error.h"
#include "tokenizer/json_line.h"
#include "tokenizer/separator_line.h"
#include "tokenizer/utf8.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace templar {

namespace {

constexpr std::string_view white_space = " \t\r\n\v\f";
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

bool is_blank(std::string_view text) {
    return text.find_first_not_of(white_space) == std::string_view::npos;
}

int64_t lines_in(std::string_view text) {
    return std::count(text.begin(), text.end(), '\n');
}

// The pieces of a text; the first and the last may be parts of documents.
void split(std::string_view text, bool in_document, bool at_line_start, bool is_end, bool cut_at_end,
           const std::function<void(const Piece&)>& use) {
    Piece piece{.begins = !in_document};
    size_t start = 0;
    const auto add = [&](size_t end) {
        piece.text = text.substr(start, end - start);
        if (!piece.begins || !piece.ends || !is_blank(piece.text)) use(piece);
        piece.begins = true;
    };
    while (const auto separator = find_separator(text, start, start > 0 || at_line_start, is_end)) {
        add(separator->begin);
        start = separator->end;
    }
    piece.ends = !cut_at_end;
    if (start < text.size() || (!piece.begins && piece.ends)) add(text.size());
}

void refuse_byte(std::string_view name, std::string_view text, size_t bad, const Position& begin) {
    if (bad == std::string_view::npos) return;
    const auto line = begin.line + lines_in(text.substr(0, bad));
    const int64_t byte = begin.offset + static_cast<int64_t>(bad);
    if (text[bad] == '\0')
        fail(ExitCode::input, "{} has a NUL byte at byte {} (line {}): this is a binary file, expected UTF-8 text",
             name, byte, line);
    fail(ExitCode::input, "{} is not UTF-8 text: byte {} (line {}) is 0x{:02x}; convert it first, e.g. with iconv",
         name, byte, line, static_cast<uint8_t>(text[bad]));
}

size_t find_bad_byte(std::string_view text) {
    return std::min(text.find('\0'), find_invalid_utf8(text));
}

void for_each_line(const Block& block, const std::string& field, const std::function<void(const Piece&)>& use) {
    const std::string_view text = block.text;
    std::string document;
    int64_t number = block.begin.line;
    for (size_t begin = 0; begin < text.size(); ++number) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        const std::string_view line = text.substr(begin, end - begin);
        begin = end + 1;
        if (is_blank(line)) continue;
        try {
            read_json_text(line, field, document);
        } catch (const Error& error) {
            fail(error.code(), "{} line {}: {}", block.name, number, error.what());
        }
        if (!is_blank(document)) use({document});
    }
}

}  // namespace

std::vector<Input> inputs_from(const std::vector<std::string>& paths, bool always_jsonl) {
    std::vector<Input> inputs;
    for (const std::string& path : paths) {
        std::string_view name = path;
        for (const std::string_view packed : {".gz", ".zst"})
            if (name.ends_with(packed)) name.remove_suffix(packed.size());
        const bool jsonl = name.ends_with(".jsonl") || name.ends_with(".ndjson") || name.ends_with(".json");
        inputs.push_back({path, always_jsonl || jsonl ? Form::jsonl : Form::text});
    }
    return inputs;
}

int64_t input_bytes(const Input& input) {
    if (input.path == "-") return -1;
    struct stat info {};
    if (::stat(input.path.c_str(), &info) != 0)
        fail(ExitCode::input, "cannot open {}: {}", input.path, std::strerror(errno));
    if (S_ISDIR(info.st_mode)) fail(ExitCode::input, "{} is a folder, expected a file", input.path);
    if (!S_ISREG(info.st_mode)) return -1;
    if (info.st_size == 0) fail(ExitCode::input, "{} is empty, expected text, JSONL, gzip or zstd", input.path);
    return info.st_size;
}

std::optional<Block> TextBlocks::next(const std::stop_token& stop) {
    while (at_.input < std::ssize(documents_) && !stop.stop_requested()) {
        const std::string_view document = documents_[static_cast<size_t>(at_.input)];
        const std::string_view rest = document.substr(static_cast<size_t>(at_.offset));
        const size_t length =
            rest.size() > options_.block_bytes && cut_ ? cut_(rest, options_.block_bytes) : rest.size();
        Block block{.form = Form::document, .text = std::string(rest.substr(0, length)), .begin = at_};
        block.ends_input = length == rest.size();
        if (block.ends_input)
            at_ = {.input = at_.input + 1};
        else
            at_ = {.input = at_.input, .offset = at_.offset + static_cast<int64_t>(length), .in_document = true};
        consumed_ += static_cast<int64_t>(length);
        block.end = at_;
        block.consumed = consumed_;
        return block;
    }
    return std::nullopt;
}

void for_each_piece(const Block& block, const std::string& field, const std::function<void(const Piece&)>& use) {
    const bool cut_at_end = !block.ends_input && block.end.in_document;
    if (block.form == Form::jsonl) return for_each_line(block, field, use);
    if (block.form == Form::document) return use({block.text, !block.begin.in_document, !cut_at_end});
    refuse_byte(block.name, block.text, find_bad_byte(block.text), block.begin);
    split(block.text, block.begin.in_document, block.begin.at_line_start, block.ends_input, cut_at_end, use);
}

void for_each_document(const std::vector<Input>& inputs, const std::string& field,
                       const std::function<void(std::string document, int64_t consumed)>& use) {
    // Parts are put together again, so any place between two characters will do.
    const Cut between_characters = [](std::string_view text, size_t from) {
        while (from < text.size() && (static_cast<uint8_t>(text[from]) & 0xc0) == 0x80) ++from;
        return from;
    };
    BlockOptions options;
    options.largest_document = SIZE_MAX;
    FileBlocks blocks(inputs, between_characters, options);
    std::string document;
    while (const auto block = blocks.next({})) {
        for_each_piece(*block, field, [&](const Piece& piece) {
            document += piece.text;
            if (piece.ends && !is_blank(document)) use(std::move(document), block->consumed);
            if (piece.ends) document.clear();
        });
    }
}

std::vector<std::string_view> split_documents(std::string_view text) {
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    std::vector<std::string_view> documents;
    split(text, false, true, true, false, [&](const Piece& piece) { documents.push_back(piece.text); });
    return documents;
}

void check_text(std::string_view text, std::string_view what) {
    if (text.empty()) fail(ExitCode::input, "{} is empty, expected UTF-8 text", what);
    refuse_byte(what, text, find_bad_byte(text), {});
}

}  // namespace templar
