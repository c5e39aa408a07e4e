#include "tokenizer/encode.h"

#include "base/error.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

namespace templar {

namespace {

void pack(const std::vector<int32_t>& ids, int width, Bytes& out) {
    out.resize(ids.size() * static_cast<size_t>(width));
    uint8_t* to = out.data();
    for (const int32_t id : ids)
        for (int i = 0; i < width; ++i) *to++ = static_cast<uint8_t>(static_cast<uint32_t>(id) >> (8 * i));
}

Encoded encode_block(const Tokenizer& tokenizer, const Block& block, const EncodeOptions& options) {
    Encoded result{.end = block.end, .consumed = block.consumed};
    std::vector<int32_t> ids;
    ids.reserve(block.text.size() / 3);
    for_each_piece(block, options.field, [&](const Piece& piece) {
        if (piece.begins && begins_with_token(options.separator)) ids.push_back(tokenizer.begin_token());
        piece.begins ? tokenizer.encode(piece.text, ids) : tokenizer.encode_rest(piece.text, ids);
        if (piece.ends && ends_with_token(options.separator)) ids.push_back(tokenizer.end_token());
        result.documents += piece.begins;
        result.text_bytes += static_cast<int64_t>(piece.text.size());
    });
    pack(ids, bytes_per_token(tokenizer.vocab_size()), result.tokens);
    return result;
}

// Blocks on their way: in the order of the text, read, being encoded or encoded.
class Line {
  public:
    // `most_bytes` of text may be on the way, or one block.
    explicit Line(size_t most_bytes) : most_bytes_(most_bytes) {}

    struct Job {
        std::optional<Block> block{};
        size_t bytes = 0;
        Encoded encoded{};
        std::exception_ptr error{};
        bool done = false;
    };

    // Reader: false when all has been stopped.
    bool add(Job job) {
        std::unique_lock lock(mutex_);
        room_.wait(lock, [&] { return stopped_ || bytes_ == 0 || bytes_ + job.bytes <= most_bytes_; });
        if (stopped_) return false;
        bytes_ += job.bytes;
        jobs_.push_back(std::make_shared<Job>(std::move(job)));
        if (!jobs_.back()->done) waiting_.push_back(jobs_.back());
        work_.notify_one();
        made_.notify_one();
        return true;
    }
    void finish() {
        const std::lock_guard lock(mutex_);
        finished_ = true;
        work_.notify_all();
        made_.notify_one();
    }
    void stop() {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        work_.notify_all();
        room_.notify_all();
    }
    // Worker: the next to encode; nothing at the end.
    std::shared_ptr<Job> take() {
        std::unique_lock lock(mutex_);
        work_.wait(lock, [&] { return stopped_ || finished_ || !waiting_.empty(); });
        if (stopped_ || waiting_.empty()) return nullptr;
        auto job = std::move(waiting_.front());
        waiting_.pop_front();
        return job;
    }
    void done(Job& job) {
        const std::lock_guard lock(mutex_);
        job.done = true;
        if (!jobs_.empty() && jobs_.front()->done) made_.notify_one();
    }
    // Writer: the next in order, if it comes within `patience`; `ended`: there are no more.
    std::shared_ptr<Job> next(std::chrono::milliseconds patience, bool& ended) {
        std::unique_lock lock(mutex_);
        const auto ready = [&] { return jobs_.empty() ? finished_ : jobs_.front()->done; };
        if (!made_.wait_for(lock, patience, ready)) return nullptr;
        ended = jobs_.empty();
        if (ended) return nullptr;
        auto job = std::move(jobs_.front());
        jobs_.pop_front();
        bytes_ -= job->bytes;
        room_.notify_one();
        return job;
    }

  private:
    const size_t most_bytes_;
    std::mutex mutex_;
    std::condition_variable room_, work_, made_;
    std::deque<std::shared_ptr<Job>> jobs_, waiting_;
    size_t bytes_ = 0;
    bool finished_ = false, stopped_ = false;
};

void read_blocks(BlockSource& source, Line& line, const std::stop_token& stop) {
    try {
        while (auto block = source.next(stop)) {
            const size_t bytes = block->text.size();
            if (!line.add({.block = std::move(block), .bytes = bytes})) return;
        }
    } catch (...) {
        line.add({.error = std::current_exception(), .done = true});
    }
    line.finish();
}

void work(const Tokenizer& tokenizer, const EncodeOptions& options, Line& line) {
    while (const auto job = line.take()) {
        try {
            job->encoded = encode_block(tokenizer, *job->block, options);
        } catch (...) {
            job->error = std::current_exception();
        }
        job->block.reset();
        line.done(*job);
    }
}

// Stops the threads before they are joined.
struct Stopper {
    Line& line;
    ~Stopper() { line.stop(); }
};

}  // namespace

void check_separator(const Tokenizer& tokenizer, Separator separator) {
    const auto check = [&](bool wanted, int32_t token, const char* what, const char* instead) {
        if (wanted && token < 0)
            fail(ExitCode::input,
                 "the tokenizer has no token that {} a document: documents could not be told apart; choose "
                 "--separator {}",
                 what, instead);
    };
    check(ends_with_token(separator), tokenizer.end_token(), "ends", tokenizer.begin_token() < 0 ? "none" : "begin");
    check(begins_with_token(separator), tokenizer.begin_token(), "begins", tokenizer.end_token() < 0 ? "none" : "end");
}

void encode_blocks(const Tokenizer& tokenizer, BlockSource& source, const EncodeOptions& options,
                   const BlockOptions& blocks, const std::function<void(Encoded)>& write,
                   const std::function<void()>& idle) {
    constexpr std::chrono::milliseconds patience{100};
    const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    const int threads = options.threads > 0 ? options.threads : processors;
    Line line((2 * static_cast<size_t>(threads) + 2) * blocks.block_bytes);
    std::vector<std::jthread> pool;
    const Stopper stopper{line};
    try {
        pool.emplace_back([&](const std::stop_token& stop) { read_blocks(source, line, stop); });
        for (int i = 0; i < threads; ++i) pool.emplace_back([&] { work(tokenizer, options, line); });
    } catch (const std::system_error&) {
        // No more threads to be had: those there are do it all.
        if (pool.size() < 2) fail(ExitCode::storage, "cannot start threads: the limit on processes is reached");
    }
    for (bool ended = false; !ended;) {
        const auto job = line.next(patience, ended);
        if (job && job->error) std::rethrow_exception(job->error);
        if (job)
            write(std::move(job->encoded));
        else if (!ended && idle)
            idle();
    }
}

}  // namespace templar
