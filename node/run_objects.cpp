#include "node/run_objects.h"

#include "base/error.h"
#include "base/file.h"
#include "weights/safetensors.h"

#include <algorithm>

namespace templar {

namespace {

constexpr int64_t max_tokenizer_bytes = int64_t{1} << 30;

}  // namespace

Bytes fetch_whole(Bucket& bucket, const std::string& key, int64_t max_bytes) {
    const std::optional<ObjectInfo> info = bucket.head(key);
    if (!info) fail(ExitCode::input, "{}: the run's bucket has no object '{}'", bucket.url(), key);
    if (info->size > max_bytes)
        fail(ExitCode::input, "{}: object '{}' has {} bytes, expected at most {}", bucket.url(), key, info->size,
             max_bytes);
    std::optional<Object> object = bucket.fetch(key, info->size);
    if (!object) fail(ExitCode::input, "{}: object '{}' went away while it was read", bucket.url(), key);
    return std::move(object->bytes);
}

void fetch_file(Bucket& bucket, const std::string& key, const std::filesystem::path& path, const Digest& hash,
                int64_t max_bytes) {
    if (std::filesystem::exists(path) && sha256(MappedFile(path).bytes()) == hash) return;
    const Bytes whole = fetch_whole(bucket, key, max_bytes);
    if (sha256(whole) != hash)
        fail(ExitCode::input, "{}: object '{}' is not the one the run was created with (its hash differs)",
             bucket.url(), key);
    write_file(path, whole);
}

void fetch_tokenizer(Bucket& bucket, const Run& run, const std::filesystem::path& folder) {
    fetch_file(bucket, tokenizer_key, folder / "tokenizer.json", run.description.tokenizer, max_tokenizer_bytes);
}

std::vector<float> fetch_genesis(Bucket& bucket, const Layout& layout) {
    const Bytes bytes = fetch_whole(bucket, genesis_key, layout.parameters * 4 + max_header_bytes + 8);
    const SafetensorsView file = read_safetensors(bytes, genesis_key);
    if (file.tensors.size() != layout.tensors.size())
        fail(ExitCode::input, "{}: {} tensors, expected {}", genesis_key, file.tensors.size(), layout.tensors.size());
    std::vector<float> theta(static_cast<size_t>(layout.parameters));
    for (size_t i = 0; i < file.tensors.size(); ++i) {
        const StoredTensor& tensor = file.tensors[i];
        const TensorLayout& place = layout.tensors[i];
        if (tensor.name != place.name || tensor.shape != place.shape)
            fail(ExitCode::input, "{}: tensor {} is '{}', expected '{}' with the shape of the run's model", genesis_key,
                 i, tensor.name, place.name);
        read_values(tensor,
                    std::span(theta).subspan(static_cast<size_t>(place.offset), static_cast<size_t>(place.numel())),
                    genesis_key);
    }
    return theta;
}

std::optional<Record> fetch_record(Bucket& bucket, const Run& run, int64_t window) {
    const std::string key = record_key(window);
    const std::optional<Bytes> object = bucket.get(key, max_record_bytes);
    if (!object) return std::nullopt;
    const Envelope envelope = unseal(*object, "record", key);
    const auto& validators = run.description.validators;
    if (std::none_of(validators.begin(), validators.end(),
                     [&](const ValidatorEntry& entry) { return entry.hotkey == envelope.author; }))
        fail(ExitCode::input, "{}: signed by {}, who is no validator of this run", key, to_hex(envelope.author));
    return record_from_json(envelope.body, run.id, window);
}

ChainParams chain_params(const RunDescription& run) {
    ChainParams params;
    params.max_peers = run.max_peers;
    params.immunity_ms = run.immunity_windows * run.window_ms();
    for (const ValidatorEntry& validator : run.validators) params.stake[validator.hotkey] = validator.stake;
    return params;
}

PayloadExpectation payload_expectation(const Run& run, const Layout& layout, int64_t window, const Hotkey& hotkey) {
    return {.run_id = run.id,
            .window = static_cast<uint64_t>(window),
            .hotkey = hotkey,
            .layout = layout.hash,
            .payload_bytes = layout.payload_bytes};
}

void check_codes(const Layout& layout, const WirePayload& payload) {
    if (const std::string fault = payload_fault(layout, payload.payload()); !fault.empty())
        throw Error(ExitCode::input, fault);
}

std::optional<ArrivedPayload> fetch_payload(Bucket& bucket, const Run& run, const Layout& layout, int64_t window,
                                            const Hotkey& hotkey, int64_t budget_ms) {
    PayloadCheck check(payload_expectation(run, layout, window, hotkey));
    std::optional<Object> object = bucket.fetch(payload_key(window, hotkey), wire_object_bytes(layout.payload_bytes),
                                                std::max<int64_t>(1, budget_ms), std::ref(check));
    if (!object) return std::nullopt;
    WirePayload payload = std::move(check).take(std::move(object->bytes));
    check_codes(layout, payload);
    return ArrivedPayload{std::move(payload), object->modified_ms};
}

std::vector<BucketAddress> payload_sources(const RunDescription& run, const Chain& chain, const Hotkey& owner,
                                           int64_t window, int64_t now_ms) {
    std::vector<Hotkey> holders;
    for (const ValidatorEntry& validator : run.validators) holders.push_back(validator.hotkey);
    const bool old = now_ms > run.start_ms(window + 1 + run.payload_windows);
    holders.insert(old ? holders.end() : holders.begin(), owner);
    std::vector<BucketAddress> places;
    for (const Hotkey& holder : holders)
        if (const Neuron* neuron = chain.find(holder)) places.push_back(neuron->bucket);
    return places;
}

}  // namespace templar
