// Token shards in llm.c's format and the manifest that lists them.
#pragma once

#include "base/sha256.h"
#include "tokenizer/tokenizer.h"

#include <functional>

namespace templar {

struct ShardInfo {
    std::string file;  // name beside the manifest
    int64_t tokens = 0;
    Digest hash{};      // SHA-256 of the file
    std::string split;  // "train" or "heldout"
};

struct Manifest {
    Digest tokenizer{};  // SHA-256 of tokenizer.json
    int64_t vocab_size = 0;
    int32_t end_token = -1;
    std::vector<ShardInfo> shards;
};

std::string manifest_to_json(const Manifest& manifest);
Manifest manifest_from_json(std::string_view json, std::string_view what);  // strict; throws Error(input)
// Checks that every listed file is there with its length and hash. Throws Error(input) naming the first that
// is not.
void check_shards(const Manifest& manifest, const std::filesystem::path& folder);

// Splits text into documents at lines that hold only <|endoftext|> (a text without such lines is one
// document). Documents of nothing but white space are left out.
std::vector<std::string_view> split_documents(std::string_view text);

// Throws Error(input) unless this is text: not empty, valid UTF-8, no NUL bytes; says where the first bad
// byte is.
void check_text(std::string_view text, std::string_view what);

struct ShardOptions {
    int64_t shard_tokens = 100'000'000;
    double heldout_share = 0.02;  // the last part of the documents (or of the text when it is one document)
    std::function<void(int64_t done_bytes, int64_t total_bytes)> progress;
};

// Splits the documents' text into train and heldout: whole documents from the end as long as they fit in
// heldout_share of the bytes; when that is less than half of it (one document, or a long last one), the end
// of the next document too, cut at a line end. Throws Error(input) when either part would be empty.
struct SplitDocuments {
    std::vector<std::string_view> train, heldout;
};
SplitDocuments split_heldout(const std::vector<std::string_view>& documents, double heldout_share);

// Encodes documents, each followed by the end token, into folder/{train,heldout}_NNNNNN.bin and
// folder/manifest.json, and copies the tokenizer to folder/tokenizer.json. Each file appears complete or not
// at all; the manifest comes last, and an older one in the folder is removed first, so that a manifest never
// lists what is not there. Throws Error(storage) when the disk is full.
Manifest write_shards(const Tokenizer& tokenizer, const std::vector<std::string_view>& documents,
                      const std::filesystem::path& folder, const ShardOptions& options);

// Bytes of a shard file: header and tokens.
int64_t shard_bytes(int64_t tokens, int64_t vocab_size);
// The tokens of one shard. Throws Error(input) naming what is wrong with it: magic, version, length, an id ≥
// vocab_size.
std::vector<int32_t> read_shard(const std::filesystem::path& path, int64_t vocab_size);

}  // namespace templar
