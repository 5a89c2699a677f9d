#include "jointtuner/backbone/text_encoder.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <variant>

#include "jointtuner/backbone/frozen_module.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"
#include "jointtuner/text/clip_tokenizer.h"
#include "jointtuner/text/sentencepiece_tokenizer.h"

namespace jointtuner::backbone {
namespace {

std::unique_ptr<text::Tokenizer> made(const Bundle& bundle, const ClipBpeManifest& m, int64_t max_length) {
  return std::make_unique<text::ClipTokenizer>(
      bundle.file(m.vocab), bundle.file(m.merges),
      text::ClipTokenizerOptions{max_length, m.bos_id, m.eos_id, m.pad_id, m.normalized_ids});
}

std::unique_ptr<text::Tokenizer> made(const Bundle& bundle, const SentencePieceManifest& m, int64_t max_length) {
  return std::make_unique<text::SentencePieceTokenizer>(
      bundle.file(m.model), text::SentencePieceTokenizerOptions{max_length, m.eos_id, m.pad_id, m.special_tokens});
}

}  // namespace

std::unique_ptr<text::Tokenizer> tokenizer(const Bundle& bundle) {
  const TextManifest& text = bundle.manifest().text;
  return std::visit([&](const auto& kind) { return made(bundle, kind, text.max_length); }, text.tokenizer);
}

struct TextEncoder::Impl {
  Impl(const Bundle& bundle, at::Device device_)
      : manifest(bundle.manifest().text),
        device(device_),
        tokenizer(backbone::tokenizer(bundle)),
        encoder(bundle.file(manifest.file), device, {{"forward", 1}}),
        forward(encoder, "forward", device) {}

  const TextManifest manifest;
  const at::Device device;
  const std::unique_ptr<text::Tokenizer> tokenizer;
  const FrozenModule encoder;
  const FrozenMethod forward;
};

TextEncoder::TextEncoder(const Bundle& bundle, at::Device device) : impl_(std::make_unique<Impl>(bundle, device)) {}
TextEncoder::~TextEncoder() = default;
TextEncoder::TextEncoder(TextEncoder&&) noexcept = default;
TextEncoder& TextEncoder::operator=(TextEncoder&&) noexcept = default;

Tensor TextEncoder::encode(std::string_view prompt) const {
  c10::NoGradGuard no_grad;
  const Tensor ids = at::tensor(impl_->tokenizer->padded(prompt), at::kLong).unsqueeze(0).to(impl_->device);
  const Tensor embedding = impl_->forward.run({ids}).at(0);
  check_shape(embedding, {1, impl_->manifest.max_length, impl_->manifest.embedding_width}, "prompt embedding");
  return embedding.to(at::kCPU, at::kFloat);
}

}  // namespace jointtuner::backbone
