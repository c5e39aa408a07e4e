#include "tokenizer/byte_stream.h"

#include "base/error.h"
#include "base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cerrno>

namespace templar {

namespace {

constexpr size_t buffer_bytes = 256 << 10;

class FileStream final : public ByteStream {
  public:
    explicit FileStream(const std::string& path) : name_(shown_path(path)) {
        if (path != "-") {
            file_ = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
            if (!file_) fail(ExitCode::input, "cannot open {}: {}", name_, std::strerror(errno));
            fd_ = file_.get();
        }
        struct stat info {};
        if (::fstat(fd_, &info) != 0) fail(ExitCode::input, "cannot read {}: {}", name_, std::strerror(errno));
        if (S_ISDIR(info.st_mode)) fail(ExitCode::input, "{} is a folder, expected a file", name_);
        regular_ = S_ISREG(info.st_mode);
    }

    size_t read(std::span<char> out, const std::stop_token& stop) override {
        while (true) {
            if (!regular_ && !wait(stop)) return 0;
            const ssize_t count = ::read(fd_, out.data(), out.size());
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) fail(ExitCode::storage, "cannot read {}: {}", name_, std::strerror(errno));
            consumed_ += count;
            return static_cast<size_t>(count);
        }
    }
    bool seek(int64_t offset) override {
        if (!regular_ || ::lseek(fd_, offset, SEEK_SET) != offset) return false;
        consumed_ = offset;
        return true;
    }
    int64_t consumed() const override { return consumed_; }

  private:
    // A pipe may stay silent for ever: a stop must end the wait.
    bool wait(const std::stop_token& stop) const {
        while (!stop.stop_requested()) {
            pollfd entry{fd_, POLLIN, 0};
            if (::poll(&entry, 1, 100) != 0) return true;  // an error shows in read()
        }
        return false;
    }

    std::string name_;
    Descriptor file_;
    int fd_ = STDIN_FILENO;
    bool regular_ = false;
    int64_t consumed_ = 0;
};

// A stream whose first bytes have been looked at.
class PeekedStream final : public ByteStream {
  public:
    explicit PeekedStream(std::unique_ptr<ByteStream> inner) : inner_(std::move(inner)) {}

    // The first `count` bytes, fewer at the stream's end.
    std::string_view peek(size_t count, const std::stop_token& stop) {
        std::array<char, 16> more;
        while (front_.size() < count) {
            const size_t found = inner_->read(std::span(more).first(count - front_.size()), stop);
            if (found == 0) break;
            front_.append(more.data(), found);
        }
        return front_;
    }
    size_t read(std::span<char> out, const std::stop_token& stop) override {
        if (front_.empty()) return inner_->read(out, stop);
        const size_t count = front_.copy(out.data(), out.size());
        front_.erase(0, count);
        return count;
    }
    bool seek(int64_t offset) override {
        if (!inner_->seek(offset)) return false;
        front_.clear();
        return true;
    }
    int64_t consumed() const override { return inner_->consumed(); }

  private:
    std::unique_ptr<ByteStream> inner_;
    std::string front_;
};

// What the decompressors share: compressed bytes at hand.
class Decompressor : public ByteStream {
  public:
    int64_t consumed() const override { return inner_->consumed() - static_cast<int64_t>(rest_.size()); }

  protected:
    Decompressor(std::unique_ptr<ByteStream> inner, std::string name)
        : name_(std::move(name)), inner_(std::move(inner)), buffer_(buffer_bytes) {}

    // Has `rest_` not empty; false at the end.
    bool refill(const std::stop_token& stop) {
        if (rest_.empty()) rest_ = std::span(buffer_).first(inner_->read(buffer_, stop));
        return !rest_.empty();
    }
    [[noreturn]] void fail_truncated(const char* format) const {
        fail(ExitCode::input,
             "{} ends in the middle of its {} data, after {} bytes: a download that was cut short? Fetch it again",
             name_, format, consumed());
    }
    [[noreturn]] void fail_damaged(const char* format, std::string_view why) const {
        fail(ExitCode::input, "{} has damaged {} data at about byte {}: {}", name_, format, consumed(), why);
    }

    std::string name_;
    std::unique_ptr<ByteStream> inner_;
    std::vector<char> buffer_;
    std::span<char> rest_;
};

class GzipStream final : public Decompressor {
  public:
    GzipStream(std::unique_ptr<ByteStream> inner, std::string name) : Decompressor(std::move(inner), std::move(name)) {
        constexpr int gzip_only = 16;
        if (::inflateInit2(&state_, MAX_WBITS + gzip_only) != Z_OK) throw std::bad_alloc();
    }
    ~GzipStream() override { ::inflateEnd(&state_); }
    GzipStream(const GzipStream&) = delete;

    size_t read(std::span<char> out, const std::stop_token& stop) override {
        state_.next_out = reinterpret_cast<Bytef*>(out.data());
        state_.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), 1 << 30));
        const uInt wanted = state_.avail_out;
        while (state_.avail_out == wanted) {
            if (!refill(stop)) {
                if (in_member_ && !stop.stop_requested()) fail_truncated("gzip");
                return 0;
            }
            if (!in_member_ && !begin_member()) continue;
            state_.next_in = reinterpret_cast<Bytef*>(rest_.data());
            state_.avail_in = static_cast<uInt>(rest_.size());
            const int result = ::inflate(&state_, Z_NO_FLUSH);
            rest_ = rest_.last(state_.avail_in);
            if (result == Z_STREAM_END) {
                in_member_ = false;
                ::inflateReset(&state_);
            } else if (result == Z_MEM_ERROR) {
                throw std::bad_alloc();
            } else if (result != Z_OK && result != Z_BUF_ERROR) {
                fail_damaged("gzip", state_.msg ? state_.msg : "not gzip after all");
            }
        }
        return wanted - state_.avail_out;
    }

  private:
    // Between members: tapes and some tools pad with zeros, which are passed over.
    bool begin_member() {
        const auto visible = std::find_if(rest_.begin(), rest_.end(), [](char c) { return c != 0; });
        rest_ = rest_.subspan(static_cast<size_t>(visible - rest_.begin()));
        in_member_ = !rest_.empty();
        return in_member_;
    }

    z_stream state_{};
    bool in_member_ = true;
};

class ZstdStream final : public Decompressor {
  public:
    ZstdStream(std::unique_ptr<ByteStream> inner, std::string name)
        : Decompressor(std::move(inner), std::move(name)), state_(::ZSTD_createDStream(), ::ZSTD_freeDStream) {
        if (!state_) throw std::bad_alloc();
    }

    size_t read(std::span<char> out, const std::stop_token& stop) override {
        ZSTD_outBuffer made{out.data(), out.size(), 0};
        while (made.pos == 0) {
            // What a frame still holds back comes without further input.
            if (!refill(stop) && !in_frame_) return 0;
            ZSTD_inBuffer given{rest_.data(), rest_.size(), 0};
            const size_t result = ::ZSTD_decompressStream(state_.get(), &made, &given);
            if (::ZSTD_isError(result))
                fail_damaged("zstd",
                             std::string(::ZSTD_getErrorName(result)) +
                                 (::ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge
                                      ? " (compress it again without --long, or pipe it from zstd --long=31 -dc)"
                                      : ""));
            const bool stuck = rest_.empty() && made.pos == 0;
            rest_ = rest_.subspan(given.pos);
            in_frame_ = result != 0;
            if (stuck && stop.stop_requested()) return 0;
            if (stuck && in_frame_) fail_truncated("zstd");
        }
        return made.pos;
    }

  private:
    std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> state_;
    bool in_frame_ = true;
};

// Kinds of files that people have text in and that are not read here. Bytes no text begins with tell them.
void refuse_foreign(std::string_view front, const std::string& name) {
    if (front.starts_with("PAR1") && front.size() > 4 && static_cast<uint8_t>(front[4]) < ' ')
        fail(ExitCode::input,
             "{} is a Parquet file: pipe it as JSONL from a tool that reads Parquet, e.g.\n"
             "  duckdb -c \"COPY (SELECT text FROM '{}') TO '/dev/stdout' (FORMAT json)\" | tokenize ... --jsonl -",
             name, name);
    const auto refuse = [&](std::string_view magic, const char* kind, const char* tool) {
        if (front.starts_with(magic))
            fail(ExitCode::input, "{} is {}, expected text, JSONL, gzip or zstd: pipe it, {} {} | tokenize ... -", name,
                 kind, tool, name);
    };
    refuse("\xfd\x37zXZ", "an xz file", "xz -dc");
    refuse("PK\x03\x04", "a zip file", "unzip -p");
    if (front.starts_with("BZh") && front.size() >= 10)
        refuse(fmt::format("BZh{}1AY&SY", front[3]), "a bzip2 file", "bzip2 -dc");
}

bool is_zstd(std::string_view front) {
    const bool skippable =
        front.size() >= 4 && (static_cast<uint8_t>(front[0]) & 0xf0) == 0x50 && front.substr(1, 3) == "\x2a\x4d\x18";
    return skippable || front.starts_with("\x28\xb5\x2f\xfd");
}

}  // namespace

std::string shown_path(const std::string& path) {
    return path == "-" ? "standard input" : path;
}

std::unique_ptr<ByteStream> open_bytes(const std::string& path, const std::stop_token& stop) {
    const std::string name = shown_path(path);
    auto stream = std::make_unique<PeekedStream>(std::make_unique<FileStream>(path));
    const std::string front(stream->peek(10, stop));
    refuse_foreign(front, name);
    if (front.starts_with("\x1f\x8b\x08")) return std::make_unique<GzipStream>(std::move(stream), name);
    if (is_zstd(front)) return std::make_unique<ZstdStream>(std::move(stream), name);
    return stream;
}

}  // namespace templar
