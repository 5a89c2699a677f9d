#include "graph_rewrite.h"

#include <fmt/format.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <unordered_map>

#include "jointtuner/backbone/traced_graph.h"
#include "jointtuner/base/error.h"
#include "segment.h"

namespace jointtuner::inject {

namespace jit = torch::jit;
using jit::Graph;
using jit::Node;
using jit::Value;

namespace {

constexpr const char* kGloraOperator = "jointtuner::glora_linear";

using AddedValues = std::map<AddedInput, Value*>;

std::string join(const std::string& path, const std::string& name) {
  return path.empty() ? name : name.empty() ? path : path + "." + name;
}

c10::TypePtr type_of(InputKind kind) {
  if (kind == InputKind::scale || kind == InputKind::dropout) return c10::FloatType::get();
  if (kind == InputKind::dropout_seed || kind == InputKind::pooling_groups) return c10::IntType::get();
  if (kind == InputKind::segment_run) return c10::CapsuleType::get();
  return c10::TensorType::get();
}

class Rewriter {
 public:
  Rewriter(const jit::Module& wrapper, const backbone::DenoiserManifest& denoiser, const RewriteRequest& request)
      : wrapper_(wrapper), denoiser_(denoiser), request_(request) {
    for (size_t i = 0; i < request.sites.size(); ++i)
      site_index_[join(denoiser.module_root, request.sites[i].path)] = i;
    for (const std::string& pattern : denoiser.segments) patterns_.emplace_back(pattern);
    pattern_used_.assign(patterns_.size(), false);
  }

  RewrittenGraph run() {
    RewrittenGraph result;
    result.graph = wrapper_.get_method("forward").graph()->copy();
    Graph& graph = *result.graph;
    backbone::inline_calls(graph, denoiser_.file, [this](const std::string& path) { return is_segment(path); });
    backbone::canonicalise(graph, denoiser_.file, request_.device);
    std::vector<Node*> calls;
    for (Node* node : graph.nodes())
      if (node->kind() == c10::prim::CallMethod) calls.push_back(node);
    AddedValues values;
    adapt(graph, "", values, result.added);
    for (Node* call : calls) make_segment(call, graph, values, result);
    graph.lint();
    check_complete();
    return result;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(
        fmt::format("{}: {}. This denoiser cannot be adapted: export the bundle again with scripts/export_backbone.sh.",
                    denoiser_.file, what));
  }

  bool is_segment(const std::string& path) {
    const std::string root = denoiser_.module_root + ".";
    if (path.rfind(root, 0) != 0) return false;
    bool matched = false;
    for (size_t i = 0; i < patterns_.size(); ++i) {
      if (!std::regex_match(path.begin() + static_cast<std::ptrdiff_t>(root.size()), path.end(), patterns_[i]))
        continue;
      pattern_used_[i] = matched = true;
    }
    return matched;
  }

  static Value* added_value(Graph& graph, AddedInput input, AddedValues& values, std::vector<AddedInput>& order) {
    const auto [entry, is_new] = values.emplace(input, nullptr);
    if (is_new) {
      entry->second = graph.addInput()->setType(type_of(input.kind));
      order.push_back(input);
    }
    return entry->second;
  }

  /// Replaces the graph's aten::linear nodes whose weight belongs to a site. `prefix` is the module path of the graph's
  /// self.
  void adapt(Graph& graph, const std::string& prefix, AddedValues& values, std::vector<AddedInput>& order) {
    const Value* self = graph.inputs()[0];
    std::vector<std::pair<Node*, size_t>> found;
    for (Node* node : graph.nodes()) {
      if (node->kind() != c10::aten::linear) continue;
      const auto weight = backbone::attribute_path(node->input(1), self);
      if (!weight) continue;
      const std::string path = join(prefix, *weight);
      const auto site = site_index_.find(path.substr(0, path.rfind('.')));
      if (site != site_index_.end()) found.emplace_back(node, site->second);
    }
    for (const auto& [node, site] : found) {
      adapt_linear(graph, node, site, values, order);
      adapted_.insert(site);
    }
  }

  void adapt_linear(Graph& graph, Node* node, size_t site, AddedValues& values, std::vector<AddedInput>& order) const {
    const auto value = [&](InputKind kind, size_t index = 0) {
      return added_value(graph, {kind, index}, values, order);
    };
    const auto& group = request_.sites[site].group;
    const auto group_index = std::find(request_.groups.begin(), request_.groups.end(), group) - request_.groups.begin();
    jit::WithInsertPoint here(node);
    std::vector<Value*> inputs(node->inputs().begin(), node->inputs().end());
    inputs.push_back(value(InputKind::down, site));
    inputs.push_back(value(InputKind::up, site));
    inputs.push_back(request_.gated ? value(InputKind::gate, site) : graph.insertConstant(at::IValue()));
    inputs.push_back(value(InputKind::scale, static_cast<size_t>(group_index)));
    inputs.push_back(value(InputKind::pooling_groups));
    inputs.push_back(value(InputKind::dropout));
    inputs.push_back(value(InputKind::dropout_seed));
    inputs.push_back(graph.insertConstant(static_cast<int64_t>(site)));
    Node* adapted = graph.create(c10::Symbol::fromQualString(kGloraOperator), inputs, 1);
    adapted->insertBefore(node);
    adapted->output()->copyMetadata(node->output());
    node->output()->replaceAllUsesWith(adapted->output());
    node->destroy();
  }

  /// Turns a call into a segment node with the callee's graph, inlined, canonical and adapted, as its subgraph.
  void make_segment(Node* call, Graph& graph, AddedValues& values, RewrittenGraph& result) {
    const std::string path = *backbone::attribute_path(call->input(0), graph.inputs()[0]);
    const std::shared_ptr<Graph> body = jit::tryToGraphFunction(call)->graph()->copy();
    backbone::inline_calls(*body, denoiser_.file, [](const std::string&) { return false; });
    backbone::canonicalise(*body, denoiser_.file, request_.device);
    AddedValues body_values;
    std::vector<AddedInput> body_added;
    adapt(*body, path, body_values, body_added);
    const bool is_tuple = flatten_output(*body, path);
    body->lint();

    std::vector<Value*> inputs(call->inputs().begin(), call->inputs().end());
    body_added.push_back({InputKind::segment_run});
    for (const AddedInput& input : body_added) inputs.push_back(added_value(graph, input, values, result.added));
    Node* segment = graph.create(segment_kind(), inputs, body->outputs().size());
    segment->g_(c10::attr::Subgraph, body);
    segment->i_(c10::Symbol::attr("segment"), static_cast<int64_t>(result.segments.size()));
    result.segments.push_back(path.substr(denoiser_.module_root.size() + 1));
    segment->insertBefore(call);
    for (size_t i = 0; i < body->outputs().size(); ++i) segment->outputs()[i]->setType(body->outputs()[i]->type());
    Value* output = segment->outputs()[0];
    if (is_tuple) {
      Node* tuple = graph.createTuple(segment->outputs());
      tuple->insertBefore(call);
      output = tuple->output();
    }
    call->output()->replaceAllUsesWith(output);
    call->destroy();
  }

  /// A tuple result becomes several outputs. Returns whether it was one.
  bool flatten_output(Graph& body, const std::string& path) const {
    Value* output = body.outputs()[0];
    const bool is_tuple = output->type()->kind() == c10::TypeKind::TupleType;
    if (is_tuple) {
      Node* tuple = output->node();
      if (tuple->kind() != c10::prim::TupleConstruct)
        refuse(fmt::format("segment {} returns a tuple of unknown origin", path));
      body.eraseOutput(0);
      for (Value* value : tuple->inputs()) body.registerOutput(value);
      if (!tuple->hasUses()) tuple->destroy();
    }
    for (const Value* value : body.outputs())
      if (value->type()->kind() != c10::TypeKind::TensorType)
        refuse(fmt::format("segment {} returns something other than tensors", path));
    return is_tuple;
  }

  void check_complete() const {
    for (size_t i = 0; i < patterns_.size(); ++i)
      if (!pattern_used_[i])
        refuse(fmt::format("segment pattern {} of bundle.json matches no module call", denoiser_.segments[i]));
    for (size_t i = 0; i < request_.sites.size(); ++i)
      if (!adapted_.count(i)) refuse(fmt::format("no aten::linear for the site {}", request_.sites[i].path));
  }

  const jit::Module& wrapper_;
  const backbone::DenoiserManifest& denoiser_;
  const RewriteRequest& request_;
  std::unordered_map<std::string, size_t> site_index_;  ///< full module path -> site
  std::vector<std::regex> patterns_;
  std::vector<bool> pattern_used_;
  std::set<size_t> adapted_;
};

}  // namespace

RewrittenGraph rewrite(const jit::Module& wrapper, const backbone::DenoiserManifest& denoiser,
                       const RewriteRequest& request) {
  return Rewriter(wrapper, denoiser, request).run();
}

}  // namespace jointtuner::inject
