#include "tools/device_flags.h"

#include <CLI/CLI.hpp>

namespace templar {

void add_device_flags(CLI::App& app, DeviceChoice& choice) {
    app.add_option("--device", choice.name,
                   "where to compute: cpu, cuda, cuda:INDEX, for a miner cuda:INDEX,INDEX,… too, or auto (the first "
                   "GPU, else the CPU)")
        ->capture_default_str();
    app.add_option("--dtype", choice.dtype,
                   "of activations and the weights they meet: f32, bf16 (GPU only; the master weights stay fp32), or "
                   "auto (bf16 on a GPU)")
        ->capture_default_str();
    app.add_option("--threads", choice.threads, "processors to use; 0: all")->check(CLI::Range(0, 1024));
}

}  // namespace templar
