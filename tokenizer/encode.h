// Documents to tokens on every processor: a reader, workers, and what they made in the order of the text.
#pragma once

#include "tokenizer/documents.h"
#include "tokenizer/tokenizer.h"

namespace templar {

// Which special tokens stand around a document.
enum class Separator { end, begin, both, none };
inline constexpr std::string_view separator_names[] = {"end", "begin", "both", "none"};
inline bool begins_with_token(Separator separator) {
    return separator == Separator::begin || separator == Separator::both;
}
inline bool ends_with_token(Separator separator) {
    return separator == Separator::end || separator == Separator::both;
}
// Throws Error(input) when the tokenizer has no such token.
void check_separator(const Tokenizer& tokenizer, Separator separator);

// Two bytes where the vocabulary lets them suffice.
inline int bytes_per_token(int64_t vocab_size) {
    return vocab_size > 65536 ? 4 : 2;
}

// What became of one block.
struct Encoded {
    Bytes tokens{};            // little-endian, bytes_per_token each
    int64_t documents = 0;   // that begin in it
    int64_t text_bytes = 0;  // of documents
    Position end{};
    int64_t consumed = 0;
};

struct EncodeOptions {
    std::string field = "text";  // of JSONL
    Separator separator = Separator::end;
    int threads = 0;  // workers; 0: one for each processor
};

// Encodes every block and hands the results to `write`, in the blocks' order, whatever the number of threads: in this
// thread. `idle` is called now and then while there is nothing to write. What they throw ends it all, and so does what
// reading and encoding throw, after everything before it has been written.
void encode_blocks(const Tokenizer& tokenizer, BlockSource& source, const EncodeOptions& options,
                   const BlockOptions& blocks, const std::function<void(Encoded)>& write,
                   const std::function<void()>& idle = {});

}  // namespace templar
