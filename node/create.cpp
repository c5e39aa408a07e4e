#include "node/create.h"

#include "base/error.h"
#include "base/temporary_folder.h"
#include "engine/model/llama.h"
#include "engine/replica/replica.h"
#include "net/swarm/objects.h"
#include "tokenizer/bpe.h"
#include "tokenizer/shards.h"
#include "weights/safetensors.h"

#include <algorithm>
#include <cmath>

namespace templar {

namespace {

constexpr int64_t max_text_bytes = int64_t{1} << 32;
constexpr int64_t shard_tokens = 4 << 20;

// Records and ledger entries of one name would replace each other where a service ignores If-None-Match.
void check_write_once(Bucket& bucket) {
    const std::string key = "check-write-once";
    bucket.put(key, as_bytes("first"));
    const bool replaced = bucket.create(key, as_bytes("second"));
    bucket.remove(key);
    if (replaced)
        fail(ExitCode::storage,
             "{}: the service replaces an object where If-None-Match: * forbids it; a run "
             "cannot be kept there, choose another service",
             bucket.url());
}

Bytes genesis_object(const Layout& layout, std::span<const float> theta, const Digest& root) {
    std::vector<NamedTensor> tensors;
    for (const TensorLayout& tensor : layout.tensors)
        tensors.push_back(
            {tensor.name, tensor.shape,
             theta.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.numel()))});
    return write_safetensors(tensors, {{"format", "pt"}, {"window", "0"}, {"root", to_hex(root)}});
}

}  // namespace

double unigram_loss(const Corpus& train, const Corpus& heldout, int64_t vocab_size) {
    auto count = [vocab_size](const Corpus& corpus) {
        std::vector<double> counts(static_cast<size_t>(vocab_size), 0.0);
        std::vector<int32_t> tokens(1 << 16);
        for (int64_t first = 0; first < corpus.tokens(); first += static_cast<int64_t>(tokens.size())) {
            const auto now = std::min(static_cast<int64_t>(tokens.size()), corpus.tokens() - first);
            corpus.read(first, std::span(tokens).first(static_cast<size_t>(now)));
            for (int64_t i = 0; i < now; ++i)
                counts[static_cast<size_t>(tokens[static_cast<size_t>(i)])] += 1.0;
        }
        return counts;
    };
    const std::vector<double> seen = count(train), asked = count(heldout);
    const double total = static_cast<double>(train.tokens() + vocab_size);
    double sum = 0;
    for (size_t i = 0; i < seen.size(); ++i) sum -= asked[i] * std::log((seen[i] + 1.0) / total);
    return sum / static_cast<double>(heldout.tokens());
}

CreatedRun create_run_from_text(const CreateOptions& options, Clock& clock) {
    auto say = [&](const std::string& line) {
        if (options.say) options.say(line);
    };
    RunDescription description = options.description;

    std::vector<std::string> texts;
    std::vector<std::string_view> documents;
    int64_t bytes = 0;
    for (const std::filesystem::path& path : options.texts) {
        texts.push_back(read_text_file(path, max_text_bytes));
        check_text(texts.back(), path.string());
        bytes += static_cast<int64_t>(texts.back().size());
    }
    for (const std::string& text : texts)
        for (std::string_view document : split_documents(text)) documents.push_back(document);

    BucketOptions bucket_options = options.bucket;
    bucket_options.create = true;
    bucket_options.clock = &clock;
    const std::unique_ptr<Bucket> bucket = open_bucket(options.bucket_url, bucket_options);
    check_write_once(*bucket);
    if (bucket->head("run.json"))
        fail(ExitCode::input, "{} holds a run already; choose an empty bucket or folder", options.bucket_url);

    say(fmt::format("training a tokenizer of {} tokens on {:.1f} MB of text", description.model.vocab_size,
                    static_cast<double>(bytes) / 1e6));
    const ByteLevelBpe tokenizer = train_bpe(documents, description.model.vocab_size);
    const TemporaryFolder folder;
    ShardOptions shard_options;
    shard_options.shard_tokens = shard_tokens;
    shard_options.heldout_share = options.heldout_share;
    const Manifest manifest = write_shards(tokenizer, documents, folder.path(), shard_options);
    std::vector<std::filesystem::path> train, heldout;
    for (const ShardInfo& shard : manifest.shards) {
        const MappedFile file(folder.path() / shard.file);
        bucket->put("data/" + shard.file, file.bytes());
        (shard.split == "train" ? train : heldout).push_back(folder.path() / shard.file);
    }
    const Bytes tokenizer_bytes = read_file(folder.path() / "tokenizer.json", max_text_bytes);
    const Bytes manifest_bytes = read_file(folder.path() / "manifest.json", max_text_bytes);
    bucket->put(tokenizer_key, tokenizer_bytes);
    bucket->put(manifest_key, manifest_bytes);
    description.tokenizer = sha256(tokenizer_bytes);
    description.manifest = sha256(manifest_bytes);
    description.end_token = tokenizer.end_token();

    CreatedRun created;
    const Corpus train_corpus(train), heldout_corpus(heldout);
    created.train_tokens = train_corpus.tokens();
    created.heldout_tokens = heldout_corpus.tokens();
    page_count(train_corpus,
               {description.page_sequences, description.seq});  // says what to do when the text is too short
    page_count(heldout_corpus, {1, description.seq});
    created.unigram_loss = unigram_loss(train_corpus, heldout_corpus, description.model.vocab_size);
    say(fmt::format("{} training tokens, {} held-out tokens, unigram baseline {:.3f} nats per token",
                    created.train_tokens, created.heldout_tokens, created.unigram_loss));

    const Layout layout = make_layout(llama_parameters(description.model), description.codec);
    const std::vector<float> theta = genesis_weights(description.model, options.genesis_seed);
    description.genesis_root = state_tree(layout, theta, 1).root;
    bucket->put(genesis_key, genesis_object(layout, theta, description.genesis_root));
    say(fmt::format("genesis: {} parameters in {} tensors, payload {} bytes per window, root {}",
                    layout.parameters, layout.tensors.size(), layout.payload_bytes,
                    to_hex(description.genesis_root).substr(0, 16)));
    // S3's times are whole seconds: only where windows begin on one does "before the window's end" mean that.
    if (description.t0_ms == 0)
        description.t0_ms = (clock.now_ms() + options.start_delay_ms + 999) / 1000 * 1000;
    created.run = create_run(*bucket, description);
    return created;
}

}  // namespace templar
