#include "segment.h"

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/custom_operator.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <algorithm>

#include "jointtuner/inject/segment_watch.h"

namespace jointtuner::inject {

namespace jit = torch::jit;
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

struct Segment {
  explicit Segment(const std::shared_ptr<jit::Graph>& graph) : code(graph, "segment"), inputs(graph->inputs().size()) {}

  void run(jit::Stack& stack) const { jit::InterpreterState(code).run(stack); }

  jit::Code code;
  size_t inputs;
};

/// One run of a segment as backward needs it: the arguments, with gaps where the floating-point tensors go, which
/// autograd or host memory keeps.
struct SegmentCall : torch::CustomClassHolder {
  std::shared_ptr<const Segment> segment;
  c10::intrusive_ptr<SegmentRun> run;
  bool offload = false;
  jit::Stack arguments;
  std::vector<size_t> tensor_positions;
  std::vector<size_t> offloaded;  ///< which of the tensors wait in host memory
  size_t parked = 0;              ///< and under which number

  jit::Stack stack(at::TensorList tensors) const {
    jit::Stack result = arguments;
    for (size_t i = 0; i < tensors.size(); ++i) result[tensor_positions[i]] = tensors[i];
    return result;
  }
};

variable_list as_tensors(const jit::Stack& stack) {
  variable_list tensors;
  tensors.reserve(stack.size());
  for (const at::IValue& value : stack) tensors.push_back(value.toTensor());
  return tensors;
}

/// Moves what can wait in host memory there; the places in `tensors` are left empty.
void offload(SegmentCall& call, variable_list& tensors) {
  variable_list inputs;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!OffloadedInputs::takes(tensors[i])) continue;
    call.offloaded.push_back(i);
    inputs.push_back(std::move(tensors[i]));
  }
  call.parked = call.run->offloaded.park(inputs);
}

/// The tensors of a call in backward: cut off from what was recorded, those that require a gradient as leaves.
variable_list detached(const SegmentCall& call, const variable_list& saved) {
  variable_list tensors;
  for (const Tensor& tensor : saved)
    tensors.push_back(tensor.defined() ? tensor.detach().requires_grad_(tensor.requires_grad()) : Tensor());
  if (call.offload) {
    variable_list fetched = call.run->offloaded.fetch(call.parked);
    for (size_t i = 0; i < fetched.size(); ++i) tensors[call.offloaded[i]] = std::move(fetched[i]).requires_grad_(true);
  }
  return tensors;
}

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static variable_list forward(AutogradContext* context, at::TensorList tensors,
                               const c10::intrusive_ptr<SegmentCall>& call) {
    c10::NoGradGuard no_grad;
    variable_list saved = tensors.vec();
    if (call->offload) offload(*call, saved);
    context->save_for_backward(std::move(saved));
    context->saved_data["call"] = at::IValue::make_capsule(call);
    jit::Stack stack = call->stack(tensors);
    call->segment->run(stack);
    return as_tensors(stack);
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    const auto call = c10::static_intrusive_pointer_cast<SegmentCall>(context->saved_data["call"].toCapsule());
    variable_list tensors = detached(*call, context->get_saved_variables()), inputs;
    std::vector<size_t> differentiated;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!tensors[i].requires_grad()) continue;
      inputs.push_back(tensors[i]);
      differentiated.push_back(i);
    }
    const size_t count = tensors.size();
    variable_list outputs, gradients;
    {
      c10::AutoGradMode recording(true);
      jit::Stack stack = call->stack(tensors);
      tensors.clear();
      call->segment->run(stack);
      for (size_t i = 0; i < stack.size(); ++i) {
        if (!output_gradients[i].defined() || !stack[i].toTensor().requires_grad()) continue;
        outputs.push_back(std::move(stack[i]).toTensor());
        gradients.push_back(std::move(output_gradients[i]));
      }
    }
    variable_list result(count + 1);  // the call itself has no gradient
    if (outputs.empty()) return result;
    variable_list found = torch::autograd::grad(outputs, inputs, gradients, std::nullopt, false, /*allow_unused=*/true);
    for (size_t i = 0; i < found.size(); ++i) result[differentiated[i]] = std::move(found[i]);
    return result;
  }
};

bool records_gradients(const jit::Stack& arguments) {
  return c10::GradMode::is_enabled() && std::any_of(arguments.begin(), arguments.end(), [](const at::IValue& value) {
           return value.isTensor() && value.toTensor().requires_grad();
         });
}

/// Runs the segment with recording. Each input passes an identity first, where the gradients of all its uses inside are
/// summed before they join those from outside, as the checkpoint does by its nature.
void run_recording(const Segment& segment, jit::Stack& arguments) {
  for (at::IValue& value : arguments)
    if (value.isTensor() && value.toTensor().requires_grad()) value = value.toTensor().alias();
  segment.run(arguments);
}

void run_checkpointed(const std::shared_ptr<const Segment>& segment, c10::intrusive_ptr<SegmentRun> run, bool offload,
                      jit::Stack& arguments) {
  auto call = c10::make_intrusive<SegmentCall>();
  call->segment = segment;
  call->run = std::move(run);
  call->offload = offload;
  variable_list tensors;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!arguments[i].isTensor() || !arguments[i].toTensor().is_floating_point()) continue;
    tensors.push_back(std::move(arguments[i]).toTensor());
    arguments[i] = at::IValue();
    call->tensor_positions.push_back(i);
  }
  call->arguments = std::move(arguments);
  arguments.clear();
  for (Tensor& output : Checkpoint::apply(at::TensorList(tensors), call)) arguments.emplace_back(std::move(output));
}

jit::Operation segment_operation(const jit::Node* node) {
  const auto segment = std::make_shared<const Segment>(node->g(c10::attr::Subgraph));
  const auto place = static_cast<size_t>(node->i(c10::Symbol::attr("segment")));
  return [segment, place](jit::Stack& stack) {
    auto run = c10::static_intrusive_pointer_cast<SegmentRun>(jit::pop(stack).toCapsule());
    const SegmentMemory memory = run->memory[place];
    const auto begin = stack.end() - static_cast<std::ptrdiff_t>(segment->inputs);
    jit::Stack arguments(std::make_move_iterator(begin), std::make_move_iterator(stack.end()));
    stack.erase(begin, stack.end());
    if (!records_gradients(arguments)) {
      segment->run(arguments);
    } else {
      if (memory == SegmentMemory::keep)
        run_recording(*segment, arguments);
      else
        run_checkpointed(segment, std::move(run), memory == SegmentMemory::offload, arguments);
      SegmentWatch::see(place);
    }
    stack.insert(stack.end(), std::make_move_iterator(arguments.begin()), std::make_move_iterator(arguments.end()));
  };
}

}  // namespace

c10::Symbol segment_kind() {
  static const c10::Symbol kind = c10::Symbol::fromQualString("jointtuner::segment");
  static const jit::RegisterOperators registration(
      {jit::Operator(kind, segment_operation, c10::AliasAnalysisKind::CONSERVATIVE)});
  return kind;
}

}  // namespace jointtuner::inject
