#include "tokenizer/shards.h"

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/utf8.h"

#include <algorithm>

namespace templar {

namespace {

constexpr std::string_view end_of_text = "<|endoftext|>";
constexpr int32_t shard_magic = 20240520;
constexpr int64_t header_bytes = 256 * 4;

int bytes_per_token(int64_t vocab_size) {
    return vocab_size > 65536 ? 4 : 2;
}
int32_t shard_version(int64_t vocab_size) {
    return vocab_size > 65536 ? 7 : 1;
}

constexpr std::string_view white_space = " \t\r\n\v\f";
bool is_blank(std::string_view text) {
    return text.find_first_not_of(white_space) == std::string_view::npos;
}

int64_t total_bytes(const std::vector<std::string_view>& documents) {
    int64_t total = 0;
    for (const std::string_view document : documents) total += static_cast<int64_t>(document.size());
    return total;
}

// Where to cut a document so that about `tail` bytes are behind: at the first line end that leaves no more
// than that, else at the last one before, in any case with something visible behind it. 0: there is no such
// line end.
size_t line_end_before_tail(std::string_view document, size_t tail) {
    const size_t target = document.size() - std::min(tail, document.size());
    const std::string_view body = document.substr(0, document.find_last_not_of(white_space) + 1);
    size_t line_end = body.find('\n', target > 0 ? target - 1 : 0);
    if (line_end == std::string_view::npos) line_end = body.rfind('\n', target);
    return line_end == std::string_view::npos ? 0 : line_end + 1;
}

// Collects tokens and writes a shard whenever one is full.
class ShardWriter {
  public:
    ShardWriter(Manifest& manifest, const std::filesystem::path& folder, int64_t shard_tokens)
        : manifest_(manifest),
          folder_(folder),
          shard_tokens_(shard_tokens),
          width_(bytes_per_token(manifest.vocab_size)) {}

    void start_split(const std::string& split) {
        split_ = split;
        index_ = 0;
    }
    void add(const std::vector<int32_t>& ids) {
        for (const int32_t id : ids) {
            if (tokens_ == 0) file_.assign(static_cast<size_t>(header_bytes), 0);
            for (int i = 0; i < width_; ++i)
                file_.push_back(static_cast<uint8_t>(static_cast<uint32_t>(id) >> (8 * i)));
            if (++tokens_ == shard_tokens_) finish_shard();
        }
    }
    void finish_shard() {
        if (tokens_ == 0) return;
        ByteWriter header;
        header.put(shard_magic);
        header.put(shard_version(manifest_.vocab_size));
        header.put(static_cast<int32_t>(tokens_));
        std::copy(header.bytes().begin(), header.bytes().end(), file_.begin());
        ShardInfo shard{fmt::format("{}_{:06}.bin", split_, index_++), tokens_, sha256(file_), split_};
        write_file(folder_ / shard.file, file_);
        manifest_.shards.push_back(std::move(shard));
        tokens_ = 0;
    }

  private:
    Manifest& manifest_;
    const std::filesystem::path& folder_;
    const int64_t shard_tokens_;
    const int width_;
    std::string split_;
    int index_ = 0;
    int64_t tokens_ = 0;
    Bytes file_;  // the shard as it will stand on disk
};

void create_folder(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) fail(ExitCode::storage, "cannot create the folder {}: {}", folder.string(), error.message());
}

}  // namespace

int64_t shard_bytes(int64_t tokens, int64_t vocab_size) {
    return header_bytes + tokens * bytes_per_token(vocab_size);
}

std::vector<std::string_view> split_documents(std::string_view text) {
    std::vector<std::string_view> documents;
    size_t start = 0;
    const auto add = [&](size_t end) {
        const std::string_view document = text.substr(start, end - start);
        if (!is_blank(document)) documents.push_back(document);
    };
    for (size_t at = text.find(end_of_text); at != std::string_view::npos; at = text.find(end_of_text, at)) {
        const size_t begin = at;
        at += end_of_text.size();
        if (begin > 0 && text[begin - 1] != '\n') continue;
        if (at < text.size() && text[at] == '\r') ++at;
        if (at < text.size() && text[at] != '\n') continue;
        add(begin);
        at = start = std::min(at + 1, text.size());
    }
    add(text.size());
    return documents;
}

void check_text(std::string_view text, std::string_view what) {
    if (text.empty()) fail(ExitCode::input, "{} is empty, expected UTF-8 text", what);
    const size_t bad = std::min(text.find('\0'), find_invalid_utf8(text));
    if (bad == std::string_view::npos) return;
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(bad), '\n');
    if (text[bad] == '\0')
        fail(ExitCode::input,
             "{} has a NUL byte at byte {} (line {}): this is a binary file, expected UTF-8 text", what, bad,
             line);
    fail(ExitCode::input,
         "{} is not UTF-8 text: byte {} (line {}) is 0x{:02x}; convert it first, e.g. with iconv", what, bad,
         line, static_cast<uint8_t>(text[bad]));
}

SplitDocuments split_heldout(const std::vector<std::string_view>& documents, double heldout_share) {
    if (!(heldout_share > 0 && heldout_share < 1))
        fail(ExitCode::input, "the heldout share is {}, expected more than 0 and less than 1", heldout_share);
    const int64_t total = total_bytes(documents);
    const auto wanted = static_cast<int64_t>(heldout_share * static_cast<double>(total));
    SplitDocuments split{documents, {}};
    int64_t held = 0;
    while (!split.train.empty() && held + static_cast<int64_t>(split.train.back().size()) <= wanted) {
        held += static_cast<int64_t>(split.train.back().size());
        split.heldout.push_back(split.train.back());
        split.train.pop_back();
    }
    if (!split.train.empty() && (split.heldout.empty() || 2 * held < wanted)) {
        std::string_view& last = split.train.back();
        if (const size_t cut = line_end_before_tail(last, static_cast<size_t>(wanted - held))) {
            split.heldout.push_back(last.substr(cut));
            last = last.substr(0, cut);
        }
    }
    std::reverse(split.heldout.begin(), split.heldout.end());
    std::erase_if(split.train, is_blank);
    std::erase_if(split.heldout, is_blank);
    if (split.train.empty() || split.heldout.empty())
        fail(ExitCode::input,
             "cannot hold out {} of {} bytes in {} documents: the {} part would be empty. Give more text, "
             "more lines or documents, "
             "or another heldout share",
             wanted, total, documents.size(), split.train.empty() ? "train" : "heldout");
    return split;
}

Manifest write_shards(const Tokenizer& tokenizer, const std::vector<std::string_view>& documents,
                      const std::filesystem::path& folder, const ShardOptions& options) {
    constexpr int64_t most_tokens = 0x7fffffff;
    constexpr size_t block = 1 << 20;
    if (options.shard_tokens < 1 || options.shard_tokens > most_tokens)
        fail(ExitCode::input, "{} tokens per shard, expected 1 to {}", options.shard_tokens, most_tokens);
    if (tokenizer.end_token() < 0)
        fail(ExitCode::input, "the tokenizer has no {}: documents could not be told apart", end_of_text);
    const SplitDocuments split = split_heldout(documents, options.heldout_share);

    create_folder(folder);
    std::error_code ignored;
    std::filesystem::remove(folder / "manifest.json", ignored);
    const std::string tokenizer_json = tokenizer.to_json();
    write_file(folder / "tokenizer.json", as_bytes(tokenizer_json));
    Manifest manifest{sha256(as_bytes(tokenizer_json)), tokenizer.vocab_size(), tokenizer.end_token(), {}};
    ShardWriter writer(manifest, folder, options.shard_tokens);
    const int64_t total = total_bytes(split.train) + total_bytes(split.heldout);
    int64_t done = 0;
    std::vector<int32_t> ids;
    const auto add_documents = [&](const std::string& name, const std::vector<std::string_view>& part) {
        writer.start_split(name);
        for (std::string_view document : part) {
            bool is_first = true;
            while (!document.empty()) {
                const size_t length = tokenizer.cut(document, std::min(block, document.size()));
                ids.clear();
                const std::string_view piece = document.substr(0, length);
                is_first ? tokenizer.encode(piece, ids) : tokenizer.encode_rest(piece, ids);
                is_first = false;
                document.remove_prefix(length);
                if (document.empty()) ids.push_back(tokenizer.end_token());
                writer.add(ids);
                done += static_cast<int64_t>(length);
                if (options.progress) options.progress(done, total);
            }
        }
        writer.finish_shard();
    };
    add_documents("train", split.train);
    add_documents("heldout", split.heldout);
    write_file(folder / "manifest.json", as_bytes(manifest_to_json(manifest)));
    return manifest;
}

std::vector<int32_t> read_shard(const std::filesystem::path& path, int64_t vocab_size) {
    const MappedFile file(path);
    const auto size = static_cast<int64_t>(file.bytes().size());
    const std::string name = path.string();
    if (size < header_bytes) fail(ExitCode::input, "{} has {} bytes, too few for a token shard", name, size);
    ByteReader header(file.bytes(), name);
    const auto magic = header.get<int32_t>(), version = header.get<int32_t>(), count = header.get<int32_t>();
    if (magic != shard_magic)
        fail(ExitCode::input, "{} starts with {}, expected {}: not a token shard", name, magic, shard_magic);
    if (version != shard_version(vocab_size))
        fail(ExitCode::input,
             "{} has version {}, expected {} for a vocabulary of {}: was it made with another tokenizer?",
             name, version, shard_version(vocab_size), vocab_size);
    if (count < 0 || shard_bytes(count, vocab_size) != size)
        fail(ExitCode::input, "{} says it has {} tokens, but has {} bytes, expected {}", name, count, size,
             shard_bytes(count, vocab_size));
    ByteReader body(file.bytes().subspan(static_cast<size_t>(header_bytes)), name);
    std::vector<int32_t> ids(static_cast<size_t>(count));
    for (int32_t& id : ids) {
        const uint32_t token = version == 1 ? body.get<uint16_t>() : body.get<uint32_t>();
        if (static_cast<int64_t>(token) >= vocab_size)
            fail(ExitCode::input,
                 "{} has token {}, expected less than {}: was it made with another tokenizer?", name, token,
                 vocab_size);
        id = static_cast<int32_t>(token);
    }
    return ids;
}

}  // namespace templar
