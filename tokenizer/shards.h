// Token shards in llm.c's format and the manifest that lists them.
#pragma once

#include "base/sha256.h"
#include "tokenizer/encode.h"

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

struct CorpusProgress {
    int64_t read_bytes = 0;    // of the inputs, compressed perhaps; those that an interrupted command had read count too
    int64_t total_bytes = -1;  // of all inputs; -1 where one is a pipe
    int64_t text_bytes = 0, documents = 0, tokens = 0;
};

struct ShardOptions {
    int64_t shard_tokens = 100'000'000;
    // The last part of the tokens: whole documents from the end as long as they fit in this share; where that is less than
    // half of it (one document, or a long last one), from a line's end on. 0: nothing is held out.
    double heldout_share = 0.02;
    bool raw = false;  // one file for each split with nothing but tokens, <split>.u16 or .u32, and no manifest
    EncodeOptions encode{};
    BlockOptions blocks{};
    int64_t checkpoint_ms = 5000;  // encode_files: how often what is done is made safe; 0: after each block
    // Called now and then; what it throws ends the work.
    std::function<void(const CorpusProgress&)> progress{};
};

struct EncodedCorpus {
    Manifest manifest;
    int64_t documents = 0, text_bytes = 0;
};

// Encodes documents, each with its separators, into folder/{train,heldout}_NNNNNN.bin and folder/manifest.json, and copies the
// tokenizer to folder/tokenizer.json. Train and held-out tokens, put together, are the encoded documents, in order; where the
// cut between them falls into a document no separator stands there. The manifest comes last, and an older one in the folder is
// removed first, so that a manifest never lists what is not there. Throws Error(input) when either split would be empty,
// Error(storage) when the disk is full.
Manifest write_shards(const Tokenizer& tokenizer, const std::vector<std::string_view>& documents,
                      const std::filesystem::path& folder, const ShardOptions& options);

// The same from files of any size, and resumable: as long as folder/progress.json is there the corpus is unfinished, and the
// same call goes on where the last one was ended (by kill -9, a full disk, a bad line that has been mended since), to the
// same bytes that it would have made in one go. Throws Error(input) when the folder holds a corpus, or the unfinished work of
// another command, saying what differs.
EncodedCorpus encode_files(const Tokenizer& tokenizer, const std::vector<Input>& inputs, const std::filesystem::path& folder,
                           const ShardOptions& options);

// Bytes of a shard file: header and tokens.
int64_t shard_bytes(int64_t tokens, int64_t vocab_size);
// The tokens of one shard. Throws Error(input) naming what is wrong with it: magic, version, length, an id ≥
// vocab_size.
std::vector<int32_t> read_shard(const std::filesystem::path& path, int64_t vocab_size);
// The tokens of a file that has nothing else, .u16 or .u32 by its name.
std::vector<int32_t> read_raw_tokens(const std::filesystem::path& path, int64_t vocab_size);

}  // namespace templar
