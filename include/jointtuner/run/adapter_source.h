// An adapter to convert: a file of ours, or a published list together with the backbone that names its layers.
#pragma once
#include <filesystem>
#include <string>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/adapter_set.h"

namespace jointtuner::run {

struct AdapterSource {
  adapter::AdapterSet adapters;
  adapter::AdapterMetadata metadata;
};

/// Whether the file is a zip archive, as published lists are.
bool is_published_list(const std::filesystem::path& path);

/// Reads a file of ours; with a `bundle` folder it is checked against that backbone.
AdapterSource own_adapter(const std::filesystem::path& path, const std::string& bundle);

/// Reads a published list for the backbone in `bundle`. Its step is the number that its name begins with
/// ("2000_unet.pt"), 0 without one; gates pool by `gate_pooling`, for the list does not say how; the rest of the
/// metadata is what the published scripts train with. Throws UsageError without a bundle.
AdapterSource published_adapter(const std::filesystem::path& path, const std::string& bundle,
                                const std::string& gate_pooling);

}  // namespace jointtuner::run
