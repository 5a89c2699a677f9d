// What an adapter file says of the run that made it.
#pragma once
#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/options.h"
#include "jointtuner/backbone/bundle.h"
#include "jointtuner/diffusion/options.h"

namespace jointtuner::run {

/// Of adapters for `bundle`, trained with these options; step 0, and no data hash. trained_with holds each option of
/// the loss as "loss_<name>".
adapter::AdapterMetadata adapter_metadata(const adapter::AdapterOptions& options, const diffusion::LossOptions& loss,
                                          const backbone::Bundle& bundle);

}  // namespace jointtuner::run
