// The command line's choice of a device, the same in every program that computes.
#pragma once

#include "kernels/device.h"

namespace CLI {
class App;
}

namespace templar {

// --device, --dtype and --threads.
void add_device_flags(CLI::App& app, DeviceChoice& choice);

}  // namespace templar
