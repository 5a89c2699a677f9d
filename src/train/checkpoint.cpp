#include "jointtuner/train/checkpoint.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/sha256.h"

namespace jointtuner::train {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr std::string_view kFormat = "jointtuner-checkpoint";
constexpr int64_t kVersion = 1;
constexpr const char* kAdapter = "adapter.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";
constexpr std::string_view kPrefix = "step_";

ordered_json file_entry(const fs::path& path) {
  return {{"sha256", sha256_file(path)}, {"bytes", static_cast<int64_t>(fs::file_size(path))}};
}

void check_file(const fs::path& path, const ordered_json& entry) {
  std::error_code code;
  const auto bytes = fs::file_size(path, code);
  if (code) throw Error(fmt::format("{}: is missing or unreadable: {}", path.string(), code.message()));
  const auto expected = entry.at("bytes").get<uintmax_t>();
  if (bytes != expected)
    throw Error(fmt::format("{}: is damaged: {} bytes expected, {} found", path.string(), expected, bytes));
  if (sha256_file(path) != entry.at("sha256").get<std::string>())
    throw Error(fmt::format("{}: is damaged: its SHA-256 is not the one in {}", path.string(), kState));
}

std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  int64_t step = 0;
  const char* end = name.data() + name.size();
  if (!name.starts_with(kPrefix) || std::from_chars(name.data() + kPrefix.size(), end, step).ptr != end ||
      checkpoint_name(step) != name) {
    return std::nullopt;
  }
  return step;
}

ordered_json state_json(const CheckpointState& state) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"step", state.step},
          {"epoch", state.epoch},
          {"loss_scaler", {{"scale", state.loss_scaler.scale}, {"good_steps", state.loss_scaler.good_steps}}},
          {"data_hash", state.identity.data_hash},
          {"denoiser_sha256", state.identity.denoiser_sha256},
          {"config", ordered_json::parse(state.identity.config_json)}};
}

CheckpointState parse_state(const ordered_json& json, const fs::path& file) {
  if (json.at("format") != kFormat || json.at("version") != kVersion)
    throw Error(fmt::format("{}: expected format \"{}\" version {}, found {} version {}", file.string(), kFormat,
                            kVersion, json.at("format").dump(), json.at("version").dump()));
  const ordered_json& scaler = json.at("loss_scaler");
  return {.step = json.at("step").get<int64_t>(),
          .epoch = json.at("epoch").get<int64_t>(),
          .loss_scaler = {scaler.at("scale").get<double>(), scaler.at("good_steps").get<int64_t>()},
          .identity = {json.at("config").dump(), json.at("data_hash").get<std::string>(),
                       json.at("denoiser_sha256").get<std::string>()}};
}

}  // namespace

void save_checkpoint(const fs::path& path, CheckpointState state, const TrainingState& training,
                     adapter::AdapterMetadata metadata) {
  state.loss_scaler = training.loss_scaler.state();
  metadata.step = state.step;
  make_folder(path.parent_path());
  std::error_code code;
  fs::remove_all(path, code);
  if (code) throw Error(fmt::format("{}: a damaged checkpoint cannot be replaced: {}", path.string(), code.message()));
  write_folder_atomically(path, [&](const fs::path& folder) {
    adapter::save_adapter(folder / kAdapter, training.adapters, metadata);
    save_safetensors(folder / kOptimizer, training.optimizer.state());
    ordered_json json = state_json(state);
    json["files"] = {{kAdapter, file_entry(folder / kAdapter)}, {kOptimizer, file_entry(folder / kOptimizer)}};
    write_atomically(folder / kState, json.dump(1) + '\n');
  });
}

CheckpointState load_checkpoint_state(const fs::path& path) {
  try {
    const ordered_json json = ordered_json::parse(read_file(path / kState));
    CheckpointState state = parse_state(json, path / kState);
    for (const char* name : {kAdapter, kOptimizer}) check_file(path / name, json.at("files").at(name));
    return state;
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("{}: is damaged: {}", (path / kState).string(), error.what()));
  }
}

void restore_checkpoint(const fs::path& path, const CheckpointState& state, TrainingState& training) {
  const adapter::AdapterFile file = adapter::load_adapter(path / kAdapter);
  const adapter::AdapterSet saved = adapter::match_adapter(file, training.adapters.sites(),
                                                           state.identity.denoiser_sha256, training.adapters.device());
  if (saved.rank() != training.adapters.rank() || saved.gated() != training.adapters.gated())
    throw Error(fmt::format("{}: rank {}{}, but the run has rank {}{}", (path / kAdapter).string(), saved.rank(),
                            saved.gated() ? "" : " without gates", training.adapters.rank(),
                            training.adapters.gated() ? "" : " without gates"));
  training.optimizer.restore(load_safetensors(path / kOptimizer));
  training.adapters.assign(saved.flat());
  training.loss_scaler.restore(state.loss_scaler);
}

std::string checkpoint_name(int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

std::map<int64_t, fs::path> list_checkpoints(const fs::path& folder) {
  std::map<int64_t, fs::path> found;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::optional<int64_t> step = step_of(entry.path());
    if (step && entry.is_directory()) found[*step] = entry.path();
  }
  return found;
}

}  // namespace jointtuner::train
