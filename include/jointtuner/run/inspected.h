// What a file or folder is, and what it says about itself.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

namespace jointtuner::run {

using Json = nlohmann::ordered_json;

/// An object that begins with "kind": bundle, run, checkpoint, adapter, published list, latents, optimizer state, cache
/// entry or safetensors, then path and the kind's own facts. Throws Error when it is none of these, or damaged.
Json inspected(const std::filesystem::path& path);

}  // namespace jointtuner::run
