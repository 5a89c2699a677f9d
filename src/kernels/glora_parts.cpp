#include "glora_parts.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace jointtuner::kernels::parts {

TORCH_LIBRARY_FRAGMENT(jointtuner, m) {
  m.def("_gate_hidden(Tensor(a!) hidden, Tensor logits, int groups) -> Tensor");
  m.def("_gate_hidden_backward(Tensor(a!) gradient, Tensor hidden, Tensor logits, Tensor gate, float scale) -> ()");
  m.def(
      "_low_rank_update(Tensor(a!) y, Tensor hidden, Tensor up, float scale, float dropout, int dropout_seed, int "
      "site) -> ()");
  m.def(
      "_low_rank_backward(Tensor grad_y, Tensor hidden, Tensor up, Tensor(a!) grad_hidden, Tensor(b!) grad_up, float "
      "scale, "
      "float dropout, int dropout_seed, int site) -> ()");
}

Tensor gate_hidden(const Tensor& hidden, const Tensor& logits, int64_t groups) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("jointtuner::_gate_hidden", "")
                             .typed<Tensor(const Tensor&, const Tensor&, int64_t)>();
  return op.call(hidden, logits, groups);
}

void gate_hidden_backward(const Tensor& gradient, const Tensor& hidden, const Tensor& logits, const Tensor& gate,
                          double scale) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("jointtuner::_gate_hidden_backward", "")
                             .typed<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double)>();
  op.call(gradient, hidden, logits, gate, scale);
}

void low_rank_update(const Tensor& y, const Tensor& hidden, const Tensor& up, double scale, const DropoutMask& mask) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("jointtuner::_low_rank_update", "")
          .typed<void(const Tensor&, const Tensor&, const Tensor&, double, double, int64_t, int64_t)>();
  op.call(y, hidden, up, scale, mask.probability, mask.seed, mask.site);
}

void low_rank_backward(const Tensor& grad_y, const Tensor& hidden, const Tensor& up, const Tensor& grad_hidden,
                       const Tensor& grad_up, double scale, const DropoutMask& mask) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("jointtuner::_low_rank_backward", "")
                             .typed<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                         double, double, int64_t, int64_t)>();
  op.call(grad_y, hidden, up, grad_hidden, grad_up, scale, mask.probability, mask.seed, mask.site);
}

}  // namespace jointtuner::kernels::parts
