#include "engine/parallel/data_parallel.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>

namespace templar {

namespace {

// When the backward has a tensor's gradient: the argument of Llama::GradientsDone.
int64_t layer_of(size_t tensor, int64_t layers) {
    constexpr size_t per_layer = 9;
    if (tensor == 0) return -1;
    return std::min(static_cast<int64_t>((tensor - 1) / per_layer), layers);
}

std::vector<int> owners(const Layout& layout, int ranks) {
    std::vector<int64_t> sizes;
    for (const TensorLayout& tensor : layout.tensors) sizes.push_back(tensor.numel());
    return balanced_owners(sizes, ranks);
}

std::vector<std::unique_ptr<Communicator>> connected(std::span<Device* const> devices,
                                                     const DataParallel::Connect& connect) {
    if (devices.size() == 1) return {};
    for (const Device* device : devices)
        if (device->compute_type() != devices[0]->compute_type())
            fail(ExitCode::usage, "several devices: expected one type for all, found {} and {}",
                 name_of(devices[0]->compute_type()), name_of(device->compute_type()));
    return connect(devices);
}

}  // namespace

struct DataParallel::Rank {
    Rank(int number_, Device& device_, Communicator* communicator_, const LlamaConfig& config, const Layout& layout,
         const std::vector<int>& owner, int64_t batch, int64_t seq, float beta)
        : number(number_),
          device(device_),
          communicator(communicator_),
          demo(device, layout, beta, owned(owner, number)),
          gradient(device, DType::f32, layout.parameters),
          copy_of_weights(device, device.compute_type(), number > 0 ? layout.parameters : 0),
          model(device, config, batch, seq, Pass::training) {
        parts.resize(static_cast<size_t>(config.layers + 2));
        for (size_t t = 0; t < layout.tensors.size(); ++t) {
            const TensorLayout& tensor = layout.tensors[t];
            parts[static_cast<size_t>(layer_of(t, config.layers) + 1)].push_back(
                {gradient.tensor().view(tensor.offset, {tensor.numel()}), owner[t]});
        }
    }

    static std::vector<size_t> owned(const std::vector<int>& owner, int number) {
        std::vector<size_t> tensors;
        for (size_t t = 0; t < owner.size(); ++t)
            if (owner[t] == number) tensors.push_back(t);
        return tensors;
    }

    void reduce(int64_t layer) { communicator->reduce(device.stream(), parts[static_cast<size_t>(layer + 1)]); }

    int number;
    Device& device;
    Communicator* communicator;  // null when there is one rank
    Demo demo;
    DeviceArray gradient;
    DeviceArray copy_of_weights;  // empty on rank 0
    Llama model;                  // after all that does not grow with the batch: it says which batch fits into the rest
    Tensor weights;
    std::vector<std::vector<Communicator::Part>> parts;  // by layer + 1
};

DataParallel::DataParallel(std::span<Device* const> devices, const LlamaConfig& config, const Layout& layout,
                           int64_t batch, int64_t seq, float beta, const Connect& connect)
    : layout_(layout),
      batch_(batch),
      seq_(seq),
      communicators_(connected(devices, connect)),
      ranks_(devices.size()),
      threads_(static_cast<int>(devices.size()), [this](int rank) {
          if (!communicators_.empty()) communicators_[static_cast<size_t>(rank)]->abort();
      }) {
    const std::vector<int> owner = owners(layout, static_cast<int>(devices.size()));
    threads_.run([&](int rank) {
        const auto r = static_cast<size_t>(rank);
        Communicator* const communicator = communicators_.empty() ? nullptr : communicators_[r].get();
        ranks_[r] = std::make_unique<Rank>(rank, *devices[r], communicator, config, layout, owner, batch, seq, beta);
    });
}

// What a rank's device holds is freed by the rank's thread. Freeing waits for the device, and after an error, which mostly
// shows in a wait outside of run(), sums may be under way there that another device will never join: these are ended first.
DataParallel::~DataParallel() {
    if (std::uncaught_exceptions() > 0)
        for (const auto& communicator : communicators_) communicator->abort();
    threads_.run([this](int rank) { ranks_[static_cast<size_t>(rank)].reset(); });
}

void DataParallel::each(const std::function<void(Rank&)>& task) {
    threads_.run([&](int rank) { task(*ranks_[static_cast<size_t>(rank)]); });
}

void DataParallel::set_weights(Tensor weights) {
    each([&](Rank& rank) {
        rank.weights = rank.number == 0 ? weights : rank.copy_of_weights.tensor();
        if (!rank.communicator) return;
        const Communicator::Part all{rank.weights, 0};
        rank.communicator->broadcast(rank.device.stream(), {&all, 1});
        rank.communicator->finish(rank.device.stream());
    });
}

void DataParallel::zero_gradient() {
    each([](Rank& rank) { rank.gradient.fill_zero(); });
    reduced_ = false;
}

double DataParallel::Pending::wait() const {
    double sum = 0;
    for (const Llama::Pending& part : parts_)
        for (float loss : part.wait()) sum += loss;
    return sum;
}

DataParallel::Pending DataParallel::forward_backward(std::span<const int32_t> tokens, std::span<const int32_t> labels,
                                                     bool last) {
    const auto share = static_cast<size_t>(batch_ * seq_);
    if (tokens.size() != share * ranks_.size() || labels.size() != tokens.size())
        fail(ExitCode::internal, "{} tokens and {} labels, expected {} of each", tokens.size(), labels.size(),
             share * ranks_.size());
    if (reduced_) fail(ExitCode::internal, "forward_backward: the gradient is already summed over the devices");
    // A GPU's first batch loads kernels and tries algorithms in memory of their own. To load and to free may wait for every GPU
    // of the process: never while one of them waits for another in a sum.
    const bool overlap = last && ran_;
    Pending pending;
    pending.parts_.resize(ranks_.size());
    each([&](Rank& rank) {
        const auto r = static_cast<size_t>(rank.number);
        const bool reduce = overlap && rank.communicator;
        if (reduce) rank.model.on_gradients([&rank](int64_t layer) { rank.reduce(layer); });
        pending.parts_[r] =
            rank.model.forward_backward(rank.weights, rank.gradient.tensor(), tokens.subspan(r * share, share),
                                        labels.subspan(r * share, share), 1.0f);
        if (!reduce) return;
        rank.model.on_gradients({});
        rank.communicator->finish(rank.device.stream());
    });
    ran_ = true;
    reduced_ = overlap;
    if (last) reduce_gradient();
    return pending;
}

void DataParallel::reduce_gradient() {
    if (!reduced_ && ranks() > 1)
        each([](Rank& rank) {
            for (int64_t layer = -1; layer <= rank.model.config().layers; ++layer) rank.reduce(layer);
            rank.communicator->finish(rank.device.stream());
        });
    reduced_ = true;
}

void DataParallel::set_gradient(std::span<const float> gradient) {
    zero_gradient();
    ranks_[0]->gradient.upload(gradient);
}

std::vector<float> DataParallel::gradient() {
    if (!reduced_) fail(ExitCode::internal, "gradient: not summed over the devices yet");
    std::vector<float> sum(static_cast<size_t>(layout_.parameters));
    each([&](Rank& rank) {
        for (const auto& layer : rank.parts)
            for (const Communicator::Part& part : layer) {
                if (part.owner != rank.number) continue;
                const auto* first = static_cast<const float*>(rank.gradient.tensor().data);
                const auto offset = static_cast<const float*>(part.tensor.data) - first;
                rank.device.download(rank.device.stream(), sum.data() + offset, part.tensor.data, part.tensor.bytes());
            }
        rank.device.wait(rank.device.stream());
    });
    return sum;
}

void DataParallel::compress(float eta, float scale, std::span<uint8_t> payload) {
    reduce_gradient();
    // As in Demo::step: nobody touches its momentum before everything is known to be finite.
    std::vector<double> squares(ranks_.size());
    each([&](Rank& rank) {
        squares[static_cast<size_t>(rank.number)] = rank.demo.sum_of_squares(rank.gradient.tensor());
    });
    const double sum = std::accumulate(squares.begin(), squares.end(), 0.0);
    if (!std::isfinite(sum))
        fail(ExitCode::input, "the gradient is not finite (sum of squares {}); skip this step", sum);
    each([&](Rank& rank) { rank.demo.compress(rank.gradient.tensor(), eta * scale, payload); });
}

std::vector<float> DataParallel::momentum() {
    std::vector<float> all(static_cast<size_t>(layout_.parameters));
    each([&](Rank& rank) { rank.demo.save_momentum(all); });
    return all;
}

void DataParallel::set_momentum(std::span<const float> momentum) {
    if (std::ssize(momentum) != layout_.parameters)
        fail(ExitCode::input, "momentum of {} values, expected {}", momentum.size(), layout_.parameters);
    each([&](Rank& rank) { rank.demo.load_momentum(momentum); });
}

}  // namespace templar
