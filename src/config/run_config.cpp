#include "jointtuner/config/run_config.h"

#include <nlohmann/json.hpp>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/config/validate.h"
#include "option_reader.h"
#include "option_writer.h"
#include "overrides.h"
#include "strict_json.h"

namespace jointtuner::config {

namespace {

RunConfig parsed(std::string_view text, std::string_view origin, const std::vector<std::string>& overrides,
                 bool of_past_run) {
  Json json = parse_strict_json(text, origin);
  std::vector<Override> applied;
  for (const std::string& change : overrides) applied.push_back(apply_override(json, change));
  RunConfig config;
  OptionReader(origin, applied, of_past_run).read(json, config, "");
  validate(config, origin);
  return config;
}

/// A config that cannot be read is wrong usage, not a failure of the run.
std::string config_text(const std::filesystem::path& path) {
  try {
    return read_file(path);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

}  // namespace

RunConfig parse_run_config(std::string_view text, std::string_view origin, const std::vector<std::string>& overrides) {
  return parsed(text, origin, overrides, /*of_past_run=*/false);
}

RunConfig load_past_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  return parsed(config_text(path), path.string(), overrides, /*of_past_run=*/true);
}

RunConfig load_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  RunConfig config = parse_run_config(config_text(path), path.string(), overrides);
  if (config.run.name.empty()) config.run.name = path.stem().string();
  return config;
}

std::string run_config_text(const RunConfig& config) { return json_of(config).dump(2) + "\n"; }

std::string run_config_schema() {
  Json schema = Json::object();
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "jointtuner run config";
  schema.update(schema_of(RunConfig{}));
  return schema.dump(2) + "\n";
}

}  // namespace jointtuner::config
