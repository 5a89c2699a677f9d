// Which settings make two runs the same run.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "jointtuner/base/retired_options.h"
#include "jointtuner/train/checkpoint.h"

namespace jointtuner::train {

namespace {

using nlohmann::json;

/// Settings that may change between a run and its continuation: a path, or a section when it ends in '.'.
constexpr std::array<std::string_view, 18> kFree = {"about",
                                                    "run.name",
                                                    "run.output",
                                                    "run.device",
                                                    "run.threads",
                                                    "run.memory",
                                                    "backbone.bundle",
                                                    "data.images.",
                                                    "data.videos.",
                                                    "data.images",
                                                    "data.videos",
                                                    "data.cache",
                                                    "data.on_bad_item",
                                                    "train.checkpoint_every",
                                                    "train.keep_checkpoints",
                                                    "train.activation_checkpointing",
                                                    "sample.",
                                                    "preview."};

bool is_free(std::string_view path) {
  return std::any_of(kFree.begin(), kFree.end(), [path](std::string_view free) {
    return free.ends_with('.') ? path.starts_with(free) : path == free;
  });
}

/// {"train": {"steps": 5}} -> train.steps: 5. Lists keep their index: data.images.0.path.
void flatten(const json& value, const std::string& path, std::map<std::string, json>& leaves) {
  if (!value.is_structured() || value.empty()) {
    leaves[path] = value;
    return;
  }
  for (const auto& [key, inner] : value.items()) flatten(inner, path.empty() ? key : path + "." + key, leaves);
}

std::map<std::string, json> shaping_settings(const std::string& config_json) {
  std::map<std::string, json> leaves;
  flatten(json::parse(config_json), "", leaves);
  std::erase_if(leaves, [](const auto& leaf) {
    const RetiredOption* gone = retired_option(leaf.first);
    return is_free(leaf.first) || (gone != nullptr && leaf.second == json::parse(gone->neutral));
  });
  const auto schedule = leaves.find("train.learning_rate_schedule");
  if (schedule != leaves.end() && schedule->second == "constant")
    leaves.erase("train.steps");  // no step depends on how many follow
  return leaves;
}

std::string text(const std::map<std::string, json>& leaves, const std::string& path) {
  const auto found = leaves.find(path);
  return found == leaves.end() ? "absent" : found->second.dump();
}

}  // namespace

std::string reason_not_to_resume(const RunIdentity& saved, const RunIdentity& now) {
  const auto before = shaping_settings(saved.config_json);
  const auto after = shaping_settings(now.config_json);
  for (const auto* leaves : {&before, &after})
    for (const auto& [path, value] : *leaves)
      if (text(before, path) != text(after, path))
        return fmt::format("{} was {} and is {} now", path, text(before, path), text(after, path));
  if (saved.denoiser_sha256 != now.denoiser_sha256)
    return fmt::format("backbone.bundle holds another denoiser (SHA-256 {:.12}..., was {:.12}...)", now.denoiser_sha256,
                       saved.denoiser_sha256);
  if (saved.data_hash != now.data_hash)
    return fmt::format("the data changed: a file, a caption or a clip start (data hash {:.12}..., was {:.12}...)",
                       now.data_hash, saved.data_hash);
  return "";
}

}  // namespace jointtuner::train
