#include "jointtuner/backbone/traced_graph.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include "jointtuner/base/error.h"

namespace jointtuner::backbone {

namespace jit = torch::jit;
using jit::Graph;
using jit::Node;

namespace {

[[noreturn]] void refuse(const std::string& file, const std::string& what) {
  throw Error(fmt::format(
      "{}: {}: such a model cannot be run. Export the bundle again with scripts/export_backbone.sh.", file, what));
}

void refuse_active_dropout(const Node* node, const std::string& file) {
  const std::string kind = node->kind().toUnqualString();
  if (kind.find("dropout") != std::string::npos) {
    const auto training = node->inputs().size() > 2 ? jit::toIValue(node->input(2)) : std::nullopt;
    if (!training || !training->isBool() || training->toBool()) refuse(file, fmt::format("{} is active", kind));
  }
  if (node->kind() == c10::aten::scaled_dot_product_attention) {
    const auto probability = jit::toIValue(node->input(4));
    if (!probability || !probability->isDouble() || probability->toDouble() != 0)
      refuse(file, "attention dropout is active");
  }
}

void use_integer_count(Graph& graph, Node* node) {
  if (node->input(1)->type()->kind() != c10::TypeKind::TensorType) return;
  Node* count = graph.create(c10::aten::Int, {node->input(1)}, 1);
  count->output()->setType(c10::IntType::get());
  count->insertBefore(node);
  node->replaceInput(1, count->output());
}

void move_constant(Node* node, at::Device device) {
  const auto type = node->output()->type()->kind();
  if (type == c10::TypeKind::DeviceObjType) node->s_(c10::attr::value, device.str());
  if (type != c10::TypeKind::TensorType || !node->hasAttribute(c10::attr::value)) return;
  const at::Tensor& value = node->t(c10::attr::value);
  if (value.dim() > 0) node->t_(c10::attr::value, value.to(device));
}

}  // namespace

std::optional<std::string> attribute_path(const jit::Value* value, const jit::Value* self) {
  std::string path;
  for (; value != self; value = value->node()->input()) {
    if (value->node()->kind() != c10::prim::GetAttr) return std::nullopt;
    const std::string& name = value->node()->s(c10::attr::name);
    path = path.empty() ? name : name + "." + path;
  }
  return path;
}

void inline_calls(Graph& graph, const std::string& file, const std::function<bool(const std::string& path)>& keep) {
  const jit::Value* self = graph.inputs()[0];
  for (Node* node = *graph.nodes().begin(); node != graph.return_node();) {
    Node* next = node->next();
    if (node->kind() == c10::prim::CallMethod) {
      const auto path = attribute_path(node->input(0), self);
      jit::GraphFunction* function = jit::tryToGraphFunction(node);
      if (!path || !function)
        refuse(file, fmt::format("the call of {} has an unknown target", node->s(c10::attr::name)));
      if (!keep(*path)) {
        Node* previous = node->prev();
        jit::inlineCallTo(node, function,
                          /*use_graph=*/false);  // false: the function's graph as traced, not the optimized one
        next = previous->next();
      }
    }
    node = next;
  }
}

void canonicalise(Graph& graph, const std::string& file, at::Device device) {
  for (Node* node : graph.nodes()) {
    if (!node->blocks().empty())
      refuse(file, fmt::format("control flow ({}) in the traced graph", node->kind().toQualString()));
    if (node->kind() == c10::prim::CallFunction) refuse(file, "a call of a scripted function in the traced graph");
    refuse_active_dropout(node, file);
    if (node->kind() == c10::aten::repeat_interleave) use_integer_count(graph, node);
    if (node->kind() == c10::prim::Constant) move_constant(node, device);
  }
}

}  // namespace jointtuner::backbone
