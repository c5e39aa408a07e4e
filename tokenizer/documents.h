// Documents out of files, one block of text at a time: whatever a file's size, memory stays bounded.
#pragma once

#include "tokenizer/byte_stream.h"

#include <functional>
#include <optional>
#include <vector>

namespace templar {

// How documents stand in a file.
enum class Form {
    text,     // separated by lines that hold only <|endoftext|>; a file without such lines is one document
    jsonl,    // one in each line, in a field of an object
    document  // the whole of it is one (texts in memory)
};

struct Input {
    std::string path;  // "-" is standard input
    Form form = Form::text;
};
// JSONL when the name says so (.jsonl, .ndjson or .json, perhaps followed by .gz or .zst) or `always_jsonl`.
std::vector<Input> inputs_from(const std::vector<std::string>& paths, bool always_jsonl);

// Bytes of the file; -1 when it is a pipe or standard input. Throws Error(input) when it is missing, empty or a folder.
int64_t input_bytes(const Input& input);

// A place between two blocks, from which reading can go on.
struct Position {
    int64_t input = 0;   // which of the inputs
    int64_t offset = 0;  // bytes of it (decompressed) that are before
    int64_t line = 1;    // of the byte at `offset`
    bool in_document = false;
    bool at_line_start = true;
    uint32_t crc = 0;  // CRC-32 of the bytes before

    bool operator==(const Position&) const = default;
};

// A part of one input that can be encoded apart from the others: whole documents and, at its ends, parts of documents
// that were cut where it leaves no trace.
struct Block {
    std::string name{};  // of the input, for messages
    Form form = Form::text;
    std::string text{};
    Position begin{}, end{};
    bool ends_input = false;
    int64_t consumed = 0;  // bytes read so far of all inputs, compressed perhaps
};

class BlockSource {
  public:
    virtual ~BlockSource() = default;
    // Nothing at the end, or when a stop was asked for.
    virtual std::optional<Block> next(const std::stop_token& stop) = 0;
};

// Where a document can be cut: Tokenizer::cut.
using Cut = std::function<size_t(std::string_view text, size_t from)>;

struct BlockOptions {
    size_t block_bytes = 1 << 20;         // about how long a block is
    size_t largest_document = 128 << 20;  // of those that cannot be cut
};

// Blocks of files, in their order. A byte order mark at a file's beginning is left out.
class FileBlocks final : public BlockSource {
  public:
    // Where `begin` is not the beginning, the bytes before are checked to be what they were: by CRC-32, but for input
    // number `unchanged`, which the caller knows to be the same file (-1: none).
    FileBlocks(std::vector<Input> inputs, Cut cut, const BlockOptions& options, const Position& begin = {},
               int64_t unchanged = -1);
    // Throws Error(input) when an input is missing, damaged, or not what it was, and when a document is too long.
    std::optional<Block> next(const std::stop_token& stop) override;

  private:
    const Input& input() const { return inputs_[static_cast<size_t>(at_.input)]; }
    void open(const std::stop_token& stop);
    void skip_before(const std::stop_token& stop);
    void fill(size_t size, const std::stop_token& stop);
    // How much of the buffer is a block, and whether that ends within a document; 0: more must be read to say.
    std::pair<size_t, bool> block_length() const;
    Block take(size_t length, bool in_document);

    const std::vector<Input> inputs_;
    const Cut cut_;
    const BlockOptions options_;
    int64_t unchanged_;
    Position at_;
    std::unique_ptr<ByteStream> stream_;
    std::string buffer_;    // what comes after at_
    bool ended_ = false;    // the stream has no more than that
    int64_t consumed_ = 0;  // of the inputs before this one
};

// Blocks of texts in memory, each one document.
class TextBlocks final : public BlockSource {
  public:
    TextBlocks(const std::vector<std::string_view>& documents, Cut cut, const BlockOptions& options)
        : documents_(documents), cut_(std::move(cut)), options_(options) {}
    std::optional<Block> next(const std::stop_token& stop) override;

  private:
    const std::vector<std::string_view>& documents_;
    const Cut cut_;
    const BlockOptions options_;
    Position at_;
    int64_t consumed_ = 0;
};

// A document, or a part of one.
struct Piece {
    std::string_view text{};  // lives as long as the call
    bool begins = true, ends = true;
};
// The documents in a block, checked to be text. Documents of nothing but white space are left out. Throws Error(input)
// naming file, line and byte: bad UTF-8, NUL bytes, and for JSONL what read_json_text refuses.
void for_each_piece(const Block& block, const std::string& field, const std::function<void(const Piece&)>& use);

// Every document of the inputs, whole, with the bytes read so far.
void for_each_document(const std::vector<Input>& inputs, const std::string& field,
                       const std::function<void(std::string document, int64_t consumed)>& use);

// Splits text into documents at lines that hold only <|endoftext|> (a text without such lines is one
// document). Documents of nothing but white space are left out, and so is a byte order mark at the beginning.
std::vector<std::string_view> split_documents(std::string_view text);

// Throws Error(input) unless this is text: not empty, valid UTF-8, no NUL bytes; says where the first bad
// byte is.
void check_text(std::string_view text, std::string_view what);

}  // namespace templar
