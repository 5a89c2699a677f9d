// The frozen text encoder with its tokenizer: prompt -> prompt embedding.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <memory>
#include <string_view>

#include "jointtuner/backbone/bundle.h"
#include "jointtuner/text/tokenizer.h"

namespace jointtuner::backbone {

using at::Tensor;

/// The bundle's tokenizer alone, of the kind that its manifest names, without the encoder's weights. Throws Error if
/// its files are damaged.
std::unique_ptr<text::Tokenizer> tokenizer(const Bundle& bundle);

class TextEncoder {
 public:
  // Loads the bundle's text encoder onto `device`, and its tokenizer. Throws Error if a file is damaged or the method's
  // arguments are others.
  TextEncoder(const Bundle& bundle, at::Device device);
  ~TextEncoder();
  TextEncoder(TextEncoder&&) noexcept;
  TextEncoder& operator=(TextEncoder&&) noexcept;

  /// -> prompt embedding [1,L,D] fp32 on the CPU; L = max_length (padded), D = embedding_width. An empty prompt is
  /// allowed: the unconditional embedding. Throws Error if the prompt has more tokens than fit.
  Tensor encode(std::string_view prompt) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jointtuner::backbone
