#include "jointtuner/backbone/text_encoder.h"

#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include "jointtuner/base/safetensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::backbone {
namespace {

using testing::golden;
using testing::golden_bundle;

struct Case {
  std::string bundle, embeddings;
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.bundle; }

/// CLIP with byte pairs, and T5 with SentencePiece.
class TextEncoderTest : public ::testing::TestWithParam<Case> {
 protected:
  const TextEncoder encoder_{Bundle::open(golden_bundle(GetParam().bundle)), at::kCPU};
  const Safetensors golden_ = load_safetensors(golden(GetParam().embeddings));
};

INSTANTIATE_TEST_SUITE_P(AllKinds, TextEncoderTest,
                         ::testing::Values(Case{"nano_bundle", "backbone/text.safetensors"},
                                           Case{"nano_2b_bundle", "backbone/text_nano_2b.safetensors"}),
                         [](const auto& one) { return one.param.bundle; });

/// The same operators on the same weights: only the order of sums may differ (batch 3 against 1).
constexpr double kRounding = 2e-6;

TEST_P(TextEncoderTest, EmbeddingsEqualTransformers) {
  const auto prompts = nlohmann::json::parse(golden_.metadata.at("prompts")).get<std::vector<std::string>>();
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Tensor expected = golden_.at("embedding").narrow(0, static_cast<int64_t>(i), 1);
    const Tensor found = encoder_.encode(prompts[i]);
    ASSERT_EQ(found.sizes(), expected.sizes());
    EXPECT_TRUE(at::allclose(found, expected, kRounding, kRounding)) << prompts[i];
    EXPECT_FALSE(found.requires_grad() || found.is_inference());
  }
}

TEST_P(TextEncoderTest, ALongPromptIsAnError) {
  const std::string& prompt = golden_.metadata.at("long_prompt");
  EXPECT_ERROR(encoder_.encode(prompt), Error, std::to_string(golden_.at("truncated").size(1)));
}

TEST_P(TextEncoderTest, TheTokenizerAloneCountsAsTheEncoderDoes) {
  const auto tokens = tokenizer(Bundle::open(golden_bundle(GetParam().bundle)));
  EXPECT_EQ(tokens->max_length(), golden_.at("truncated").size(1));
  EXPECT_GT(static_cast<int64_t>(tokens->encode(golden_.metadata.at("long_prompt")).size()), tokens->max_length());
}

}  // namespace
}  // namespace jointtuner::backbone
