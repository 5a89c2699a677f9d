// Which linears of the frozen model are adapted. Private to inject.
#pragma once
#include <string>
#include <vector>

#include "jointtuner/adapter/site.h"
#include "jointtuner/backbone/manifest.h"

namespace torch::jit {

struct Module;

}

namespace jointtuner::inject {

/// The module that holds the diffusers model: attribute `module_root` of the traced wrapper. Throws Error if there is
/// none.
torch::jit::Module root_module(const torch::jit::Module& wrapper, const backbone::DenoiserManifest& denoiser);

/// Sites of all rules in the published order: rule by rule, inside a rule in the order of named_modules(). `root` is
/// root_module's. Throws Error naming the rule if it matches nothing or another number of linears than it states, or if
/// two rules match one linear.
std::vector<adapter::Site> find_sites(const torch::jit::Module& root, const backbone::DenoiserManifest& denoiser);

}  // namespace jointtuner::inject
