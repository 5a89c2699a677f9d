#include "stand_in_rules.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <functional>
#include <optional>
#include <set>

#include "jointtuner/base/shape.h"
#include "stand_in_memory.h"

namespace jointtuner::testing {
namespace {

using Names = std::set<std::string>;

/// Elementwise operators of several tensors (device_check: NoCheck # TensorIterator): at most one of the inputs may be
/// a 0-dim CPU tensor, which the kernel then takes as a number. In-place forms have the same name with a `_`.
const Names kTakesCpuNumber = {"__lshift__",
                               "__rshift__",
                               "add",
                               "addcdiv",
                               "addcmul",
                               "atan2",
                               "bitwise_and",
                               "bitwise_or",
                               "bitwise_xor",
                               "bitwise_left_shift",
                               "clamp",
                               "clamp_max",
                               "clamp_min",
                               "bitwise_right_shift",
                               "copysign",
                               "div",
                               "eq",
                               "fill",
                               "floor_divide",
                               "fmax",
                               "fmin",
                               "fmod",
                               "ge",
                               "gt",
                               "heaviside",
                               "hypot",
                               "index_fill",
                               "le",
                               "lerp",
                               "logical_and",
                               "logical_or",
                               "logical_xor",
                               "lt",
                               "masked_fill",
                               "maximum",
                               "minimum",
                               "mse_loss",
                               "mul",
                               "ne",
                               "pow",
                               "remainder",
                               "rsub",
                               "smooth_l1_loss",
                               "sub",
                               "where",
                               "xlogy"};

/// Composed for each backend by itself: the CPU's choice is the stand-in's.
const Names kChosenByBackend = {"convolution", "_convolution", "convolution_backward"};

/// With a kernel for the CPU and none for CUDA. (_scaled_dot_product_flash_attention_for_cpu stands for CUDA's.)
const Names kOnlyOnCpu = {"_functional_assert_async",
                          "_make_dep_token",
                          "_add_relu",
                          "_test_functorch_fallback",
                          "from_file",
                          "mkldnn_rnn_layer",
                          "mkldnn_rnn_layer_backward",
                          "_convert_weight_to_int4pack_for_cpu",
                          "_weight_int4pack_mm_for_cpu",
                          "_dyn_quant_pack_4bit_weight",
                          "_dyn_quant_matmul_4bit",
                          "narrow_copy",
                          "pixel_shuffle",
                          "pixel_unshuffle",
                          "native_channel_shuffle",
                          "_stack",
                          "_spdiags",
                          "to_mkldnn",
                          "histogram",
                          "_histogramdd_bin_edges",
                          "_histogramdd_from_bin_cts",
                          "_histogramdd_from_bin_tensors",
                          "slow_conv3d_forward"};

/// The size of the result, or the result itself, depends on values that the host must read.
const Names kWaits = {"nonzero",   "equal",      "masked_select",      "_unique",
                      "_unique2",  "unique_dim", "unique_consecutive", "bincount",
                      "is_nonzero"};

const Names kIndexes = {"index", "_index_put_impl_", "index_put_", "_unsafe_index", "_unsafe_index_put"};

/// "add" of "aten::add_.Tensor".
std::string base_name(const c10::OperatorHandle& op) {
  std::string name = op.operator_name().name;
  return name.substr(name.rfind(':') + 1);
}

bool takes_cpu_number(const std::string& base) {
  const bool in_place = base.size() > 1 && base.back() == '_' && base[base.size() - 2] != '_';
  return kTakesCpuNumber.count(in_place ? base.substr(0, base.size() - 1) : base) > 0;
}

struct Argument {
  const at::Tensor& tensor;
  const c10::Argument& declared;
  bool is_index;  ///< of an indexing operator
};

void for_each_tensor(const c10::OperatorHandle& op, const torch::jit::Stack& stack,
                     const std::function<void(const Argument&)>& visit) {
  const auto& declared = op.schema().arguments();
  const auto first = stack.size() - declared.size();
  const bool indexes = kIndexes.count(base_name(op)) > 0;
  for (size_t i = 0; i < declared.size(); ++i) {
    const at::IValue& value = stack[first + i];
    const auto see = [&](const at::Tensor& tensor, bool is_index) {
      if (tensor.defined()) visit({tensor, declared[i], is_index});
    };
    if (value.isTensor()) {
      see(value.toTensor(), false);
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) see(tensor, indexes);
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector())
        if (tensor) see(*tensor, indexes);
    }
  }
}

bool is_cpu_number(const Argument& argument) {
  const bool written = argument.declared.alias_info() && argument.declared.alias_info()->isWrite();
  return argument.tensor.is_cpu() && argument.tensor.dim() == 0 && !written;
}

}  // namespace

std::vector<c10::OperatorHandle> kernel_operators() {
  auto& dispatcher = c10::Dispatcher::singleton();
  std::vector<c10::OperatorHandle> operators;
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findSchema(name);
    if (!op) continue;
    const std::string base = base_name(*op);
    const bool of_cpu = op->hasKernelForDispatchKey(c10::DispatchKey::CPU) && kOnlyOnCpu.count(base) == 0;
    const bool of_torch = name.name == "aten::" + base, own = name.name == "jointtuner::" + base;
    if (((of_torch || own) && of_cpu) || (of_torch && kChosenByBackend.count(base) > 0)) operators.push_back(*op);
  }
  return operators;
}

void check_devices(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const std::string base = base_name(op);
  int numbers_allowed = takes_cpu_number(base) || kIndexes.count(base) > 0 ? 1 : 0;
  for_each_tensor(op, stack, [&](const Argument& argument) {
    if (argument.tensor.device() == kStandIn || (argument.is_index && argument.tensor.is_cpu())) return;
    if (is_cpu_number(argument) && numbers_allowed-- > 0) return;
    TORCH_CHECK(false, "Expected all tensors to be on the same device, but ", argument.declared.name(), " ",
                argument.tensor.sizes(), " is on ", argument.tensor.device(), ", others on ", kStandIn,
                " (when checking arguments of ", op.operator_name(), ")");
  });
}

void count_traffic(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const std::string base = base_name(op);
  if (kWaits.count(base) > 0) count_wait(op.operator_name().name);
  if (c10::toString(op.operator_name()) == "aten::repeat_interleave.Tensor") count_wait("aten::repeat_interleave");
  for_each_tensor(op, stack, [&](const Argument& argument) {
    if (!argument.is_index) return;
    if (argument.tensor.is_cpu()) {  // moved first, from memory that is not pinned
      count_copy(/*to_device=*/true, argument.tensor.nbytes());
      count_wait(fmt::format("aten::{} with an index {} on the host", base, shape_text(argument.tensor.sizes())));
    } else if (argument.tensor.scalar_type() == at::kBool || argument.tensor.scalar_type() == at::kByte) {
      count_wait(fmt::format("aten::{} with a mask {}", base, shape_text(argument.tensor.sizes())));
    }
  });
  if (base == "masked_fill_" && stack.back().isTensor() && !stack.back().toTensor().is_cpu())
    count_wait("aten::masked_fill_ with a value on the device");
}

}  // namespace jointtuner::testing
