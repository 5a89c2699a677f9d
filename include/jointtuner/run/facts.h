// What a config leads to on this machine, as JSON: for facts.json in the run folder, for check and for inspect.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "jointtuner/adapter/site.h"
#include "jointtuner/backbone/bundle.h"
#include "jointtuner/data/item.h"

namespace jointtuner::run {

using Json = nlohmann::ordered_json;

/// {name, family, exported from, dtype, prediction, sampler, preferred size, denoiser_sha256, path}
Json backbone_facts(const backbone::Bundle& bundle);

/// A row a group: {group, sites, parameters}, in order of first appearance.
Json site_facts(const std::vector<adapter::Site>& sites, int64_t rank, bool gated);

/// Values of one site's adapter: R K + M R (+ K when gated).
int64_t parameters(const adapter::Site& site, int64_t rank, bool gated);

/// A row an item: {kind, path, caption, size, use, content_hash}.
Json item_facts(const std::vector<data::Item>& items, const data::DataOptions& options);

/// A row each: {path, reason}.
Json skipped_facts(const std::vector<data::Skipped>& skipped);

/// "21,539,456"
std::string grouped(int64_t number);

}  // namespace jointtuner::run
