#include "tokenizer/token_files.h"

#include "base/error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace templar {

namespace {

constexpr int32_t shard_magic = 20240520;

[[noreturn]] void fail_storage(const char* what, const std::filesystem::path& path) {
    const int error = errno;
    const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    fail(ExitCode::storage, "cannot {} {}: {}{}", what, path.string(), std::strerror(error),
         full ? " (free some space and give the same command again: it goes on)" : "");
}

void write_at(const Descriptor& file, int64_t offset, ByteSpan bytes, const std::filesystem::path& path) {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(file.get(), bytes.data(), bytes.size(), offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) fail_storage("write", path);
        bytes = bytes.subspan(static_cast<size_t>(written));
        offset += written;
    }
}

void sync_file(const Descriptor& file, const std::filesystem::path& path) {
    if (file && ::fdatasync(file.get()) != 0) fail_storage("write", path);
}

}  // namespace

std::string TokenLayout::file_name(std::string_view split, int64_t index) const {
    if (raw) return fmt::format("{}.u{}", split, 8 * width());
    return fmt::format("{}_{:06}.bin", split, index);
}

Bytes TokenLayout::header(int64_t tokens) const {
    ByteWriter header;
    if (raw) return header.take();
    header.put(shard_magic);
    header.put(static_cast<int32_t>(vocab_size > 65536 ? 7 : 1));
    header.put(static_cast<int32_t>(tokens));
    header.put_zeros(static_cast<size_t>(header_bytes()) - header.size());
    return header.take();
}

TokenFiles::TokenFiles(const std::filesystem::path& folder, const TokenLayout& layout, std::string split,
                       std::vector<ShardInfo> finished, int64_t open_tokens)
    : folder_(folder), layout_(layout), split_(std::move(split)), finished_(std::move(finished)) {
    if (open_tokens > 0) open(open_tokens);
}

std::filesystem::path TokenFiles::final_path() const {
    return folder_ / layout_.file_name(split_, std::ssize(finished_));
}
std::filesystem::path TokenFiles::hidden_path() const {
    return folder_ / ("." + layout_.file_name(split_, std::ssize(finished_)) + ".part");
}

void TokenFiles::open(int64_t tokens) {
    const std::filesystem::path path = hidden_path();
    std::error_code none;
    // It was finished after the state had been saved.
    if (tokens > 0 && !std::filesystem::exists(path, none)) std::filesystem::rename(final_path(), path, none);
    file_ = Descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC | (tokens > 0 ? 0 : O_CREAT | O_TRUNC), 0644));
    if (!file_ && tokens == 0) fail_storage("create", path);
    struct stat info {};
    if (tokens > 0 && (!file_ || ::fstat(file_.get(), &info) != 0 || info.st_size < layout_.file_bytes(tokens)))
        fail(ExitCode::input,
             "{} does not hold the {} tokens that progress.json tells of: remove the folder and start again",
             path.string(), tokens);
    if (::ftruncate(file_.get(), layout_.file_bytes(tokens)) != 0) fail_storage("write", path);
    open_tokens_ = tokens;
}

void TokenFiles::append(ByteSpan tokens) {
    while (!tokens.empty()) {
        if (!file_) open(0);
        const auto room = static_cast<size_t>((layout_.shard_tokens - open_tokens_) * layout_.width());
        const ByteSpan now = tokens.first(std::min(room, tokens.size()));
        write_at(file_, layout_.file_bytes(open_tokens_), now, hidden_path());
        open_tokens_ += std::ssize(now) / layout_.width();
        tokens = tokens.subspan(now.size());
        if (open_tokens_ == layout_.shard_tokens) finish_file();
    }
}

void TokenFiles::sync() {
    sync_file(file_, hidden_path());
}

void TokenFiles::finish() {
    if (file_) finish_file();
}

void TokenFiles::discard() {
    if (file_) ::unlink(hidden_path().c_str());
    file_ = Descriptor();
}

void TokenFiles::finish_file() {
    const std::filesystem::path path = final_path();
    write_at(file_, 0, layout_.header(open_tokens_), hidden_path());
    sync_file(file_, hidden_path());
    if (::rename(hidden_path().c_str(), path.c_str()) != 0) fail_storage("create", path);
    file_ = Descriptor();
    finished_.push_back({path.filename().string(), open_tokens_, sha256(MappedFile(path).bytes()), split_});
    open_tokens_ = 0;
}

TokenReader::TokenReader(const std::filesystem::path& folder, const TokenLayout& layout,
                         const std::vector<ShardInfo>& files)
    : folder_(folder), layout_(layout), files_(files), first_{0} {
    for (const ShardInfo& file : files) first_.push_back(first_.back() + file.tokens);
}

std::pair<size_t, int64_t> TokenReader::place(int64_t i) const {
    const auto after = std::upper_bound(first_.begin(), first_.end(), i);
    const auto index = static_cast<size_t>(after - first_.begin()) - 1;
    return {index, i - first_[index]};
}

ByteSpan TokenReader::bytes_from(int64_t i) {
    const auto [index, at] = place(i);
    if (!mapped_ || mapped_index_ != index) {
        const std::filesystem::path path = folder_ / files_[index].file;
        mapped_.emplace(path);
        mapped_index_ = index;
        if (std::ssize(mapped_->bytes()) != layout_.file_bytes(files_[index].tokens))
            fail(ExitCode::input, "{} has {} bytes, expected {}: remove the folder and start again", path.string(),
                 mapped_->bytes().size(), layout_.file_bytes(files_[index].tokens));
    }
    return mapped_->bytes().subspan(static_cast<size_t>(layout_.file_bytes(at)));
}

std::vector<int32_t> TokenReader::run(int64_t i, int64_t end) {
    constexpr int64_t most = 1 << 16;
    const ByteSpan bytes = bytes_from(i);
    const auto width = static_cast<size_t>(layout_.width());
    std::vector<int32_t> ids(static_cast<size_t>(std::min({most, end - i, std::ssize(bytes) / layout_.width()})));
    for (size_t n = 0; n < ids.size(); ++n) {
        uint32_t token = 0;
        for (size_t b = 0; b < width; ++b) token |= static_cast<uint32_t>(bytes[n * width + b]) << (8 * b);
        ids[n] = static_cast<int32_t>(token);
    }
    return ids;
}

Digest hash_when_cut(const std::filesystem::path& path, const TokenLayout& layout, int64_t tokens) {
    const MappedFile file(path);
    const auto header = static_cast<size_t>(layout.header_bytes());
    return Sha256()
        .update(layout.header(tokens))
        .update(file.bytes().first(static_cast<size_t>(layout.file_bytes(tokens))).subspan(header))
        .finish();
}

void cut_file(const std::filesystem::path& path, const TokenLayout& layout, int64_t tokens) {
    const Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!file || ::ftruncate(file.get(), layout.file_bytes(tokens)) != 0) fail_storage("write", path);
    write_at(file, 0, layout.header(tokens), path);
    sync_file(file, path);
}

}  // namespace templar
