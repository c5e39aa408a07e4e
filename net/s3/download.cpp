// Reading an object into one buffer: ranges that travel side by side, all of the same version.
#include "net/s3/client_impl.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>

namespace templar {

namespace {

constexpr int most_refetches = 2;

struct ContentRange {
    ByteRange range;
    int64_t total = 0;
};

// "bytes 0-99/1000"; nothing for any other form.
std::optional<ContentRange> parse_content_range(std::string_view text) {
    ContentRange found;
    int64_t last = 0;
    const auto number = [&text](int64_t& value, std::string_view end) {
        const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || value < 0) return false;
        text.remove_prefix(static_cast<size_t>(stop - text.data()));
        if (!text.starts_with(end)) return false;
        text.remove_prefix(end.size());
        return true;
    };
    if (!text.starts_with("bytes ")) return std::nullopt;
    text.remove_prefix(6);
    if (!number(found.range.begin, "-") || !number(last, "/") || !number(found.total, "") || !text.empty() ||
        last < found.range.begin || last >= found.total)
        return std::nullopt;
    found.range.end = last + 1;
    return found;
}

// Thrown to drop everything under way and begin again.
struct Again {};

class Download {
  public:
    Download(S3Core& core, const std::string& key, int64_t begin, int64_t total, std::span<uint8_t> into,
             S3Budget budget, const ArrivalCheck& check, const TransferProgress& progress)
        : core_(core),
          key_(key),
          begin_(begin),
          total_(total),
          into_(into),
          budget_(budget),
          check_(check),
          progress_(progress, key, static_cast<int64_t>(into.size())) {}

    std::optional<S3Object> run() {
        for (;;) try {
                plan();
                run_calls(
                    core_.policy.parallel_parts, [this] { return next(); },
                    [this](S3Call& call) { ended(call); });
                return missing_ ? std::nullopt : std::optional(found_);
            } catch (const Again&) {
                progress_.restart();
                if (check_) check_(into_, {});
            }
    }

  private:
    // A range within into_ that is to be asked for, and how often it has arrived damaged.
    struct Wanted {
        ByteRange range;
        int refetches = 0;
    };

    int64_t size() const { return static_cast<int64_t>(into_.size()); }
    // No Range header is needed.
    bool is_whole(ByteRange range) const { return total_ == size() && range == ByteRange{0, size()}; }

    // The first part goes alone until the head of its answer says of which version the others have to be.
    void plan() {
        wanted_.clear();
        under_way_.clear();
        version_known_ = false;
        const int64_t part = single_ ? size() : std::max<int64_t>(core_.policy.get_part_bytes, 1);
        for (int64_t at = 0; at == 0 || at < size(); at += part)
            wanted_.push_back({{at, std::min(at + part, size())}});
    }

    std::unique_ptr<S3Call> next() {
        if (wanted_.empty() || missing_ || (!version_known_ && !under_way_.empty())) return nullptr;
        const Wanted wanted = wanted_.front();
        wanted_.pop_front();
        under_way_[++last_tag_] = wanted;
        return std::make_unique<S3Call>(core_, budget_, ask(wanted.range), last_tag_);
    }

    S3Ask ask(ByteRange range) {
        S3Ask ask{.method = "GET", .key = key_};
        ask.into =
            into_.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.end - range.begin));
        ask.too_long = is_whole(range) ? ExitCode::input : ExitCode::storage;
        ask.streams = size() > core_.policy.get_part_bytes ? core_.policy.parallel_parts : 1;
        if (!is_whole(range))
            ask.headers.push_back(
                {"Range", fmt::format("bytes={}-{}", begin_ + range.begin, begin_ + range.end - 1)});
        if (version_known_ && !found_.etag.empty())
            ask.headers.push_back({"If-Match", fmt::format("\"{}\"", found_.etag)});
        ask.on_head = [this, range](const HttpResponse& head) { judge_head(head, range); };
        ask.doubt = [this, range](const HttpResponse& answer) { return doubt(answer, range); };
        return ask;
    }

    // Before any of the body is believed: is this the object that was asked for?
    void judge_head(const HttpResponse& head, ByteRange range) {
        if (version_known_ && etag_of(head) != found_.etag) changed();
        std::optional<int64_t> total = content_length_of(head);
        if (head.status == 206) {
            const std::optional<ContentRange> content = parse_content_range(head.header("content-range"));
            if (!content) return;  // see doubt()
            total = content->total;
        }
        const int64_t needed = begin_ + size();
        if (total && (total_ >= 0 ? *total != total_ : *total < needed))
            wrong_size(fmt::format("{}", *total));
        if (head.status != 206 && !is_whole(range)) all_at_once(total);
        if (version_known_) return;
        found_ = object_of(core_, key_, head, total.value_or(total_));
        if (found_.etag.empty() && !single_ && size() > range.end - range.begin) all_at_once(total);
        version_known_ = true;
    }

    std::string doubt(const HttpResponse& answer, ByteRange range) const {
        if (is_whole(range) && answer.status == 200)
            return answer.body.empty() ? "" : "more bytes than announced";
        const std::string_view text = answer.header("content-range");
        const std::optional<ContentRange> content = parse_content_range(text);
        const ByteRange asked{begin_ + range.begin, begin_ + range.end};
        if (answer.status == 206 && content && content->range == asked) return "";
        return fmt::format("{} with Content-Range \"{}\" for bytes {}-{}", answer.status, text, asked.begin,
                           asked.end - 1);
    }

    void ended(S3Call& call) {
        call.answer();
        const Wanted wanted = under_way_.extract(call.tag()).mapped();
        if (call.good()) return arrived(wanted);
        if (call.status() == 416) wrong_size("fewer");
        if (version_known_) changed();
        if (call.status() != 404) call.refuse();
        missing_ = true;
    }

    void arrived(const Wanted& wanted) {
        if (wanted.refetches == 0) progress_.add(wanted.range.end - wanted.range.begin);
        if (!check_) return;
        for (ByteRange bad : check_(into_, wanted.range)) {
            if (bad.begin < 0 || bad.begin >= bad.end || bad.end > size())
                fail(ExitCode::internal, "no range to fetch again: [{}, {}) of {}", bad.begin, bad.end,
                     size());
            if (wanted.refetches == most_refetches)
                s3_fail(core_, ExitCode::input,
                        fmt::format("{}: bytes [{}, {}) are not what they should be, fetched {} times",
                                    s3_name(core_, key_), bad.begin, bad.end, most_refetches + 1));
            if (single_) bad = {0, size()};
            if (!is_coming(bad)) wanted_.push_front({bad, wanted.refetches + 1});
        }
    }

    // What is still to come will be looked at when it has.
    bool is_coming(ByteRange range) const {
        const auto overlaps = [range](const Wanted& other) {
            return other.range.begin < range.end && range.begin < other.range.end;
        };
        return std::any_of(wanted_.begin(), wanted_.end(), overlaps) ||
               std::any_of(under_way_.begin(), under_way_.end(),
                           [&](const auto& entry) { return overlaps(entry.second); });
    }

    // Some services ignore Range or give no ETag: then one request for everything, when that is no more than
    // was wanted.
    [[noreturn]] void all_at_once(std::optional<int64_t> total) {
        if (single_ || (total_ < 0 && total != size()))
            s3_fail(core_, ExitCode::storage,
                    fmt::format("{}: this service does not give parts of objects: choose another one",
                                s3_name(core_, key_)));
        total_ = size();
        single_ = true;
        throw Again{};
    }

    [[noreturn]] void changed() {
        if (changed_)
            s3_fail(core_, ExitCode::input,
                    fmt::format("{} changed twice while it was read", s3_name(core_, key_)));
        changed_ = true;
        throw Again{};
    }

    [[noreturn]] void wrong_size(std::string_view found) const {
        s3_fail(core_, ExitCode::input,
                fmt::format("{} has {} bytes, expected {} {}", s3_name(core_, key_), found,
                            total_ >= 0 ? "exactly" : "at least", total_ >= 0 ? total_ : begin_ + size()));
    }

    S3Core& core_;
    const std::string& key_;
    int64_t begin_, total_;
    std::span<uint8_t> into_;
    S3Budget budget_;
    const ArrivalCheck& check_;
    S3Progress progress_;
    std::deque<Wanted> wanted_;
    std::map<int64_t, Wanted> under_way_;
    int64_t last_tag_ = 0;
    S3Object found_;
    bool version_known_ = false, missing_ = false, changed_ = false, single_ = false;
};

}  // namespace

std::optional<S3Object> s3_download(S3Core& core, const std::string& key, int64_t begin, int64_t total,
                                    std::span<uint8_t> into, S3Budget budget, const ArrivalCheck& check,
                                    const TransferProgress& progress) {
    return Download(core, key, begin, total, into, budget, check, progress).run();
}

std::optional<std::pair<Bytes, S3Object>> S3Client::fetch(const std::string& key, int64_t bytes,
                                                          int64_t budget_ms, const ArrivalCheck& check) {
    if (bytes < 0) fail(ExitCode::input, "{}: no {} bytes", s3_name(*impl_, key), bytes);
    Bytes buffer(static_cast<size_t>(bytes));
    const auto object = s3_download(*impl_, key, 0, bytes, buffer,
                                    S3Budget::of(impl_->policy, bytes, budget_ms), check, progress);
    if (!object) return std::nullopt;
    return std::pair(std::move(buffer), *object);
}

std::optional<Bytes> S3Client::get_range(const std::string& key, int64_t offset, int64_t length) {
    if (offset < 0 || length < 0 || offset > INT64_MAX - length)
        fail(ExitCode::input, "{}: no bytes [{}, +{})", s3_name(*impl_, key), offset, length);
    const S3Budget budget = S3Budget::of(impl_->policy, length);
    if (length == 0) {  // no Range header can say so
        const std::optional<S3Object> object = s3_head(*impl_, key, budget);
        if (!object) return std::nullopt;
        if (object->size < offset)
            fail(ExitCode::input, "{} has {} bytes, expected at least {}", s3_name(*impl_, key), object->size,
                 offset);
        return Bytes();
    }
    Bytes buffer(static_cast<size_t>(length));
    if (!s3_download(*impl_, key, offset, -1, buffer, budget, nullptr, progress)) return std::nullopt;
    return buffer;
}

}  // namespace templar
