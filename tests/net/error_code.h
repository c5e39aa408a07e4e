// What an action throws.
#pragma once

#include "base/error.h"

#include <doctest/doctest.h>

#include <functional>

namespace templar {

// The code of the Error that `action` throws, whose message must contain `mentions`; ok when it throws none.
inline ExitCode code_of(const std::function<void()>& action, std::string_view mentions = "") {
    try {
        action();
    } catch (const Error& error) {
        INFO("message: " << error.what() << "; must mention: " << std::string(mentions));
        CHECK(std::string_view(error.what()).find(mentions) != std::string_view::npos);
        return error.code();
    }
    return ExitCode::ok;
}

}  // namespace templar
