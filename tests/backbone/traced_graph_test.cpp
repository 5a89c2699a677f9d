#include "jointtuner/backbone/traced_graph.h"

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/ir/irparser.h>

#include "support/expect_error.h"

namespace jointtuner::backbone {
namespace {

std::shared_ptr<torch::jit::Graph> graph_of(const std::string& text) {
  auto graph = std::make_shared<torch::jit::Graph>();
  torch::jit::parseIR(text, graph.get());
  return graph;
}

const torch::jit::Node* find(const torch::jit::Graph& graph, const char* kind) {
  for (const torch::jit::Node* node : graph.nodes())
    if (node->kind() == c10::Symbol::fromQualString(kind)) return node;
  return nullptr;
}

TEST(TracedGraph, DeviceConstantsGoToTheDevice) {
  const auto graph = graph_of(R"(graph(%x : Tensor):
    %d : Device = prim::Constant[value="cpu"]()
    return (%d))");
  canonicalise(*graph, "model.pt", at::Device("cuda:1"));
  EXPECT_EQ(find(*graph, "prim::Constant")->s(c10::attr::value), "cuda:1");
}

TEST(TracedGraph, ATensorRepeatCountBecomesAnInt) {
  const auto graph = graph_of(R"(graph(%x : Tensor, %n : Tensor):
    %dim : int = prim::Constant[value=0]()
    %none : None = prim::Constant()
    %y : Tensor = aten::repeat_interleave(%x, %n, %dim, %none)
    return (%y))");
  canonicalise(*graph, "model.pt", at::kCPU);
  const torch::jit::Value* count = find(*graph, "aten::repeat_interleave")->input(1);
  EXPECT_EQ(count->type()->kind(), c10::TypeKind::IntType);
  EXPECT_EQ(count->node()->input(), graph->inputs()[1]);
}

std::string dropout_graph(const char* training) {
  return std::string(R"(graph(%x : Tensor):
    %p : float = prim::Constant[value=0.1]()
    %train : bool = prim::Constant[value=)") +
         training + R"(]()
    %y : Tensor = aten::dropout(%x, %p, %train)
    return (%y))";
}

TEST(TracedGraph, ActiveDropoutIsRefused) {
  EXPECT_NO_THROW(canonicalise(*graph_of(dropout_graph("0")), "model.pt", at::kCPU));
  EXPECT_ERROR(canonicalise(*graph_of(dropout_graph("1")), "model.pt", at::kCPU), Error, "model.pt",
               "dropout is active");
  EXPECT_ERROR(canonicalise(*graph_of(R"(graph(%q : Tensor):
    %none : None = prim::Constant()
    %p : float = prim::Constant[value=0.5]()
    %causal : bool = prim::Constant[value=0]()
    %y : Tensor = aten::scaled_dot_product_attention(%q, %q, %q, %none, %p, %causal, %none, %causal)
    return (%y))"),
                            "model.pt", at::kCPU),
               Error, "attention dropout is active");
}

TEST(TracedGraph, ControlFlowIsRefused) {
  EXPECT_ERROR(canonicalise(*graph_of(R"(graph(%x : Tensor, %c : bool):
    %y : Tensor = prim::If(%c)
      block0():
        -> (%x)
      block1():
        -> (%x)
    return (%y))"),
                            "model.pt", at::kCPU),
               Error, "model.pt", "control flow (prim::If)", "export_backbone.sh");
}

}  // namespace
}  // namespace jointtuner::backbone
