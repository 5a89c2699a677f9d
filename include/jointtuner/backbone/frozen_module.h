// One TorchScript file of a bundle, loaded to be run and never changed. For backbone's own parts and for inject; no
// TorchScript header is included here, so that nothing else comes to depend on it.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace torch::jit {

struct Module;

}

namespace jointtuner::backbone {

/// One line of what a LibTorch exception says: the failing operator's message, without C++ backtrace and TorchScript
/// call stack.
std::string one_line(const std::exception& error);

/// Whether an exception says that the device or the host has no memory left. The message decides: LibTorch has a type
/// for some of these only, and its interpreter drops the type of all.
bool is_out_of_memory(const std::exception& error);

/// A method the file must have, and how many arguments it takes (without self; a list is one).
struct MethodSignature {
  std::string name;
  size_t arguments;
};

class FrozenModule {
 public:
  // Loads `file` on `device`: all parameters have requires_grad false. On the CPU the weights are the file's own pages,
  // mapped copy-on-write: nothing is read before it is used, processes share the memory, and the file must be replaced
  // (renamed over), not overwritten, while in use. 0-dim tensors stay on the CPU on every device (they take part in
  // size arithmetic). Throws Error naming the file if it is damaged or lacks a method.
  FrozenModule(const std::filesystem::path& file, at::Device device, const std::vector<MethodSignature>& methods);
  ~FrozenModule();
  FrozenModule(FrozenModule&&) noexcept;
  FrozenModule& operator=(FrozenModule&&) noexcept;

  torch::jit::Module& module() const { return *module_; }
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  std::unique_ptr<torch::jit::Module> module_;
};

/// One method of a frozen module, inlined, canonicalised (traced_graph.h) and compiled for the interpreter: no
/// profiling executor, whose third call compiles and changes results. Shares the module's weights.
class FrozenMethod {
 public:
  FrozenMethod(const FrozenModule& module, const std::string& name, at::Device device);
  ~FrozenMethod();
  FrozenMethod(FrozenMethod&&) noexcept;
  FrozenMethod& operator=(FrozenMethod&&) noexcept;

  /// The tensor, or the elements of the tuple of tensors, that the method returns; no gradients are recorded. Throws
  /// Error naming the file, the method, the arguments' shapes and the failing operator's message, OutOfMemory if memory
  /// ran out.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& arguments) const;

  /// For methods that take or return a flat List[Tensor] (a cache): it is the last argument, the last of the returned
  /// tuple. Arguments that the caller moved in are freed as soon as the method has used them.
  struct Values {
    std::vector<at::Tensor> tensors;
    std::optional<std::vector<at::Tensor>> list = std::nullopt;
  };
  Values run(Values arguments) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::backbone
