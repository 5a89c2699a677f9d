// The device a user names on the command line or in a config.
#pragma once
#include <c10/core/Device.h>

#include <string_view>

namespace jointtuner {

/// "auto" (the first CUDA device if there is one, else the CPU), "cpu", "cuda" or "cuda:n".
/// Throws UsageError for any other text and when the device does not exist here.
c10::Device parse_device(std::string_view text);

}  // namespace jointtuner
