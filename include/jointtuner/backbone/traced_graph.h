// The steps that make a traced method's graph runnable by the interpreter alone, on any device. For backbone's own
// parts and for inject; no TorchScript header is included here.
#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <optional>
#include <string>

namespace torch::jit {

struct Graph;
struct Value;

}  // namespace torch::jit

namespace jointtuner::backbone {

/// Module path ("unet.conv_in") of a value reached from `self` by attributes only; "" for self, none for other values.
std::optional<std::string> attribute_path(const torch::jit::Value* value, const torch::jit::Value* self);

/// Inlines all method calls of `graph` but those for whose module path `keep` returns true; what an inlined method
/// calls is looked at in turn. `file` names the file in messages. Throws Error for a call whose target is not a module
/// below self.
void inline_calls(torch::jit::Graph& graph, const std::string& file,
                  const std::function<bool(const std::string& path)>& keep);

/// - Device constants, and constant tensors that are not 0-dim (those are sizes), go to `device`.
/// - aten::repeat_interleave with a count that is a 0-dim CPU tensor gets an int: its tensor overload fails on other
///   devices.
///
/// Throws Error for what a traced and exported model must not hold: control flow, calls of scripted functions, dropout
/// that is active.
void canonicalise(torch::jit::Graph& graph, const std::string& file, at::Device device);

}  // namespace jointtuner::backbone
