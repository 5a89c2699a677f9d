#include "sites.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "jointtuner/base/error.h"
#include "jointtuner/base/nearest.h"

namespace jointtuner::inject {

namespace jit = torch::jit;

namespace {

/// Python class of a traced module: the last part of the type's name (`___torch_mangle_N` is a part of its own, before
/// it).
std::string class_name(const jit::Module& module) { return module.type()->name()->name(); }

std::string join(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

bool has_part(std::string_view path, const std::vector<std::string>& names) {
  while (true) {
    const size_t dot = path.find('.');
    if (std::find(names.begin(), names.end(), path.substr(0, dot)) != names.end()) return true;
    if (dot == std::string_view::npos) return false;
    path.remove_prefix(dot + 1);
  }
}

/// One rule's walk over the module tree, in registration order.
class RuleWalk {
 public:
  explicit RuleWalk(const backbone::AdapterRule& rule) : rule_(rule) {}

  /// `below` is the path below the nearest ancestor of the rule's class, once there is one.
  void visit(const jit::Module& module, const std::string& path, const std::string& below, bool inside) {
    const std::string name = class_name(module);
    if (inside && name == "Linear" && has_part(below, rule_.names)) add(module, path);
    const bool is_ancestor = name == rule_.ancestor_class;
    ancestors_ += is_ancestor;
    for (const auto& child : module.named_children()) {
      const std::string child_below = is_ancestor ? child.name : inside ? join(below, child.name) : "";
      visit(child.value, join(path, child.name), child_below, inside || is_ancestor);
    }
    if (!is_ancestor && !inside) classes_.push_back(name);
  }

  const std::vector<adapter::Site>& sites() const { return sites_; }

  void check(const std::string& where) const {
    const std::string what =
        fmt::format("adapter rule ({} below {})", fmt::join(rule_.names, "|"), rule_.ancestor_class);
    const char* remedy = "The bundle does not fit its denoiser: export it again.";
    if (ancestors_ == 0) {
      const std::string near = nearest(rule_.ancestor_class, classes_);
      throw Error(fmt::format("{}: {}: no module of class {} in the denoiser{}. {}", where, what, rule_.ancestor_class,
                              near.empty() ? "" : fmt::format(" (there is {})", near), remedy));
    }
    if (static_cast<int64_t>(sites_.size()) != rule_.sites)
      throw Error(fmt::format("{}: {}: matches {} linears, the bundle states {}. {}", where, what, sites_.size(),
                              rule_.sites, remedy));
  }

 private:
  void add(const jit::Module& linear, const std::string& path) {
    const at::Tensor weight = linear.attr("weight").toTensor();
    sites_.push_back({path, rule_.group, weight.size(1), weight.size(0)});
  }

  const backbone::AdapterRule& rule_;
  std::vector<adapter::Site> sites_;
  std::vector<std::string> classes_;
  int64_t ancestors_ = 0;
};

}  // namespace

jit::Module root_module(const jit::Module& wrapper, const backbone::DenoiserManifest& denoiser) {
  if (!wrapper.hasattr(denoiser.module_root) || !wrapper.attr(denoiser.module_root).isModule())
    throw Error(fmt::format(
        "{}: no module `{}` in it, which bundle.json states as denoiser.module_root. Export the bundle again.",
        denoiser.file, denoiser.module_root));
  return wrapper.attr(denoiser.module_root).toModule();
}

std::vector<adapter::Site> find_sites(const jit::Module& root, const backbone::DenoiserManifest& denoiser) {
  std::vector<adapter::Site> sites;
  std::map<std::string, std::string> taken;  // path -> group
  for (const backbone::AdapterRule& rule : denoiser.adapter_rules) {
    RuleWalk walk(rule);
    walk.visit(root, "", "", false);
    walk.check(denoiser.file);
    for (const adapter::Site& site : walk.sites()) {
      const auto [first, is_new] = taken.emplace(site.path, rule.group);
      if (!is_new)
        throw Error(
            fmt::format("{}: two adapter rules ({} and {}) match the linear {}. Correct the rules in the exporter.",
                        denoiser.file, first->second, rule.group, site.path));
      sites.push_back(site);
    }
  }
  return sites;
}

}  // namespace jointtuner::inject
