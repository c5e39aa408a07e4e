// FileBlocks: where a stream of bytes is cut into blocks.
#include "base/error.h"
#include "tokenizer/documents.h"
#include "tokenizer/separator_line.h"

#include <zlib.h>

#include <algorithm>

namespace templar {

namespace {

constexpr size_t read_bytes = 256 << 10;

uint32_t crc_of(uint32_t before, std::string_view bytes) {
    return static_cast<uint32_t>(::crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

FileBlocks::FileBlocks(std::vector<Input> inputs, Cut cut, const BlockOptions& options, const Position& begin,
                       int64_t unchanged)
    : inputs_(std::move(inputs)), cut_(std::move(cut)), options_(options), unchanged_(unchanged), at_(begin) {}

void FileBlocks::open(const std::stop_token& stop) {
    stream_ = open_bytes(input().path, stop);
    ended_ = false;
    buffer_.clear();
    if (at_.offset > 0) return skip_before(stop);
    constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    fill(byte_order_mark.size(), stop);
    if (!buffer_.starts_with(byte_order_mark)) return;
    at_.offset = std::ssize(byte_order_mark);
    at_.crc = crc_of(0, byte_order_mark);
    buffer_.erase(0, byte_order_mark.size());
}

void FileBlocks::skip_before(const std::stop_token& stop) {
    if (at_.input == unchanged_ && stream_->seek(at_.offset)) return;
    uint32_t crc = 0;
    std::string part(read_bytes, '\0');
    for (int64_t left = at_.offset; left > 0;) {
        const auto most = static_cast<size_t>(std::min<int64_t>(left, std::ssize(part)));
        const size_t count = stream_->read(std::span(part).first(most), stop);
        if (count == 0 && stop.stop_requested()) return;
        if (count == 0) break;
        crc = crc_of(crc, std::string_view(part).substr(0, count));
        left -= static_cast<int64_t>(count);
        if (left == 0 && crc == at_.crc) return;
    }
    fail(ExitCode::input,
         "{} is not what it was: its first {} bytes have been encoded already and are different now; start again in "
         "another folder",
         shown_path(input().path), at_.offset);
}

void FileBlocks::fill(size_t size, const std::stop_token& stop) {
    while (!ended_ && buffer_.size() < size && !stop.stop_requested()) {
        const size_t before = buffer_.size();
        buffer_.resize(before + std::max(size - before, size_t{1}));
        const size_t count = stream_->read(std::span(buffer_).subspan(before), stop);
        buffer_.resize(before + count);
        ended_ = count == 0 && !stop.stop_requested();
    }
}

std::pair<size_t, bool> FileBlocks::block_length() const {
    if (ended_) return {buffer_.size(), false};
    if (input().form == Form::jsonl) {
        const size_t line_end = buffer_.rfind('\n');
        return {line_end == std::string::npos ? 0 : line_end + 1, false};
    }
    size_t whole = 0;  // the end of the last whole document
    while (const auto separator = find_separator(buffer_, whole, whole > 0 || at_.at_line_start, false))
        whole = separator->end;
    if (whole > 0) return {whole, false};
    // All is one document. What may be the beginning of a separator stays together.
    if (buffer_.size() <= longest_separator_line || !cut_) return {0, false};
    const auto text = std::string_view(buffer_).substr(0, buffer_.size() - longest_separator_line);
    const size_t cut = cut_(text, std::max<size_t>(text.size() - text.size() / 4, 1));
    return {cut < text.size() ? cut : 0, true};
}

Block FileBlocks::take(size_t length, bool in_document) {
    Block block{.name = shown_path(input().path), .form = input().form, .begin = at_};
    const bool ends = ended_ && length == buffer_.size();
    if (ends) {
        block.text = std::exchange(buffer_, {});
        consumed_ += stream_->consumed();
        stream_.reset();
        at_ = {.input = at_.input + 1};
    } else {
        std::string rest = buffer_.substr(length);
        buffer_.resize(length);
        block.text = std::exchange(buffer_, std::move(rest));
        at_.offset += static_cast<int64_t>(length);
        at_.line += std::count(block.text.begin(), block.text.end(), '\n');
        at_.in_document = in_document;
        at_.at_line_start = block.text.back() == '\n';
        at_.crc = crc_of(at_.crc, block.text);
    }
    block.end = at_;
    block.ends_input = ends;
    block.consumed = consumed_ + (stream_ ? stream_->consumed() : 0);
    return block;
}

std::optional<Block> FileBlocks::next(const std::stop_token& stop) {
    if (at_.input >= std::ssize(inputs_)) return std::nullopt;
    if (!stream_) open(stop);
    for (size_t size = std::max<size_t>(options_.block_bytes, 1);; size = 2 * buffer_.size()) {
        fill(size, stop);
        if (stop.stop_requested()) return std::nullopt;
        const auto [length, in_document] = block_length();
        if (length > 0 || ended_) return take(length, in_document);
        if (buffer_.size() >= options_.largest_document)
            fail(ExitCode::input,
                 "{} line {}: {} of more than {} bytes that cannot be encoded in parts: {} or raise --largest-document",
                 shown_path(input().path), at_.line, input().form == Form::jsonl ? "a line" : "a document",
                 options_.largest_document,
                 input().form == Form::jsonl ? "give it as several lines"
                                             : "separate documents by lines of <|endoftext|>");
    }
}

}  // namespace templar
