// Documents to a folder of tokens: encodes them, saves how far it is, divides what was encoded, lists it.
#include "base/error.h"
#include "base/file.h"
#include "tokenizer/corpus_state.h"
#include "tokenizer/divide.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>

namespace templar {

namespace {

namespace fs = std::filesystem;
constexpr int64_t most_shard_tokens = 0x7fffffff;  // the header's count is an int32
constexpr int64_t most_state_bytes = int64_t{1} << 32;

void create_folder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", folder.string(), error.message());
}

void remove_file(const fs::path& path) {
    std::error_code error;
    fs::remove(path, error);
    if (error) fail(ExitCode::storage, "cannot remove {}: {}", path.string(), error.message());
}

// Two commands in one folder would write into each other's files. The lock goes with the process.
Descriptor lock_folder(const fs::path& folder) {
    Descriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock) fail(ExitCode::storage, "cannot open the folder {}: {}", folder.string(), std::strerror(errno));
    if (!try_lock(lock))
        fail(ExitCode::input, "another command is at work in {}: wait for it, or choose another folder",
             folder.string());
    return lock;
}

void check_options(const Tokenizer& tokenizer, const ShardOptions& options) {
    if (options.shard_tokens < 1 || options.shard_tokens > most_shard_tokens)
        fail(ExitCode::input, "{} tokens per shard, expected 1 to {}", options.shard_tokens, most_shard_tokens);
    if (!(options.heldout_share >= 0 && options.heldout_share < 1))
        fail(ExitCode::input, "the heldout share is {}, expected 0 or more and less than 1", options.heldout_share);
    check_separator(tokenizer, options.encode.separator);
}

CorpusCommand command_of(const Digest& tokenizer, const ShardOptions& options) {
    return {.tokenizer = tokenizer,
            .field = options.encode.field,
            .separator = options.encode.separator,
            .shard_tokens = options.shard_tokens,
            .heldout_share = options.heldout_share,
            .raw = options.raw};
}

class CorpusMaker {
  public:
    CorpusMaker(const Tokenizer& tokenizer, const fs::path& folder, const ShardOptions& options, CorpusState state,
                bool resumable)
        : tokenizer_(tokenizer),
          folder_(folder),
          options_(options),
          layout_{tokenizer.vocab_size(), options.raw ? INT64_MAX / 8 : options.shard_tokens, options.raw},
          state_(std::move(state)),
          resumable_(resumable) {}

    // `read_before` of `total` input bytes have been read already.
    EncodedCorpus make(BlockSource& source, int64_t read_before, int64_t total) {
        if (!state_.encoded) encode(source, {.read_bytes = read_before, .total_bytes = total});
        if (state_.tokens == 0)
            fail(ExitCode::input, "the inputs have nothing but white space, expected text: nothing to encode");
        if (state_.divided.empty()) divide();
        cut_train(folder_, layout_, state_.finished, state_.divided);
        EncodedCorpus corpus{
            {state_.command.tokenizer, tokenizer_.vocab_size(), tokenizer_.end_token(), state_.divided},
            state_.documents,
            state_.text_bytes};
        if (!options_.raw) write_file(folder_ / "manifest.json", as_bytes(manifest_to_json(corpus.manifest)));
        remove_file(folder_ / "progress.json");
        return corpus;
    }
    void save() const {
        if (resumable_) write_file(folder_ / "progress.json", as_bytes(state_to_json(state_)));
    }

  private:
    void encode(BlockSource& source, CorpusProgress progress) {
        int64_t in_finished = 0;
        for (const ShardInfo& file : state_.finished) in_finished += file.tokens;
        TokenFiles train(folder_, layout_, "train", state_.finished, state_.tokens - in_finished);
        const int64_t read_before = progress.read_bytes;
        const auto report = [&] {
            if (options_.progress) options_.progress(progress);
        };
        const auto write = [&](const Encoded& block) {
            train.append(block.tokens);
            state_.finished = train.finished();
            state_.position = block.end;
            state_.tokens += std::ssize(block.tokens) / layout_.width();
            state_.documents += block.documents;
            state_.text_bytes += block.text_bytes;
            progress = {read_before + block.consumed, progress.total_bytes, state_.text_bytes, state_.documents,
                        state_.tokens};
            save_now_and_then(train);
            report();
        };
        try {
            encode_blocks(tokenizer_, source, options_.encode, options_.blocks, write, report);
            train.finish();
        } catch (...) {
            give_up(train);
            throw;
        }
        state_.finished = train.finished();
        state_.encoded = true;
        save();
    }

    void save_now_and_then(TokenFiles& train) {
        const auto now = std::chrono::steady_clock::now();
        if (!resumable_ || now - saved_ < std::chrono::milliseconds(options_.checkpoint_ms)) return;
        train.sync();
        save();
        saved_ = now;
    }

    // What has been done is kept, if that can be, whatever the trouble was.
    void give_up(TokenFiles& train) {
        if (!resumable_) return train.discard();
        try {
            train.sync();
            save();
        } catch (const Error&) {
            // The state saved before stands.
        }
    }

    void divide() {
        state_.divided = state_.finished;
        if (options_.heldout_share > 0) {
            TokenReader tokens(folder_, layout_, state_.finished);
            const int64_t start = heldout_start(tokens, tokenizer_, options_.encode.separator, options_.heldout_share);
            state_.divided = copy_heldout(folder_, layout_, state_.finished, start);
        }
        save();
    }

    const Tokenizer& tokenizer_;
    const fs::path folder_;
    const ShardOptions& options_;
    const TokenLayout layout_;
    CorpusState state_;  // as it is after the last block that was written
    const bool resumable_;
    std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

Cut cut_of(const Tokenizer& tokenizer) {
    return [&tokenizer](std::string_view text, size_t from) { return tokenizer.cut(text, from); };
}

}  // namespace

Manifest write_shards(const Tokenizer& tokenizer, const std::vector<std::string_view>& documents,
                      const std::filesystem::path& folder, const ShardOptions& options) {
    check_options(tokenizer, options);
    create_folder(folder);
    const Descriptor lock = lock_folder(folder);
    for (const char* older : {"manifest.json", "progress.json"}) remove_file(folder / older);
    const std::string tokenizer_json = tokenizer.to_json();
    write_file(folder / "tokenizer.json", as_bytes(tokenizer_json));
    CorpusState state;
    state.command = command_of(sha256(as_bytes(tokenizer_json)), options);
    int64_t total = 0;
    for (const std::string_view document : documents) total += std::ssize(document);
    TextBlocks blocks(documents, cut_of(tokenizer), options.blocks);
    return CorpusMaker(tokenizer, folder, options, std::move(state), false).make(blocks, 0, total).manifest;
}

EncodedCorpus encode_files(const Tokenizer& tokenizer, const std::vector<Input>& inputs,
                           const std::filesystem::path& folder, const ShardOptions& options) {
    check_options(tokenizer, options);
    const std::string tokenizer_json = tokenizer.to_json();
    CorpusState state;
    state.command = command_of(sha256(as_bytes(tokenizer_json)), options);
    for (const Input& input : inputs) state.inputs.push_back(state_of(input));
    create_folder(folder);
    const Descriptor lock = lock_folder(folder);
    const fs::path saved = folder / "progress.json";
    int64_t unchanged = -1;
    std::optional<CorpusState> before;
    if (fs::exists(saved)) before = state_from_json(read_text_file(saved, most_state_bytes), saved.string());
    if (before && before->tokens > 0) {
        check_same_command(*before, state, folder.string());
        const auto at = static_cast<size_t>(before->position.input);
        if (at < state.inputs.size() && before->inputs[at].bytes >= 0 && before->inputs[at] == state.inputs[at])
            unchanged = before->position.input;
        before->inputs = state.inputs;
        state = std::move(*before);
    } else {
        const TokenLayout layout{tokenizer.vocab_size(), options.shard_tokens, options.raw};
        for (const std::string& made : {std::string("manifest.json"), layout.file_name("train", 0)})
            if (!before && fs::exists(folder / made))
                fail(ExitCode::input, "{} holds a corpus already ({}): remove that folder or choose another",
                     folder.string(), made);
        write_file(folder / "tokenizer.json", as_bytes(tokenizer_json));
    }
    int64_t read_before = 0, total = 0;
    for (int64_t i = 0; i < std::ssize(inputs); ++i) {
        const int64_t bytes = state.inputs[static_cast<size_t>(i)].bytes;
        if (i < state.position.input && bytes > 0) read_before += bytes;
        total = total < 0 || bytes < 0 ? -1 : total + bytes;
    }
    FileBlocks blocks(inputs, cut_of(tokenizer), options.blocks, state.position, unchanged);
    CorpusMaker maker(tokenizer, folder, options, std::move(state), true);
    maker.save();
    return maker.make(blocks, read_before, total);
}

}  // namespace templar
