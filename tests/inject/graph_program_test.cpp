#include "jointtuner/inject/graph_program.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <nlohmann/json.hpp>
#include <set>

#include "jointtuner/base/safetensors.h"
#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::inject {
namespace {

using adapter::AdapterSet;
using adapter::GatePooling;
using testing::BundleCopy;
using testing::golden;
using testing::golden_bundle;

/// Largest difference relative to the largest value. Both sides run the same frozen operators in fp32; the adapters are
/// summed in another order (the gate acts on the rank-R hidden), which moves the last bits of some thirty layers.
double difference(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.sizes(), expected.sizes());
  return found.sub(expected).abs().max().item<double>() / expected.abs().max().item<double>();
}
constexpr double kRounding = 1e-5;

struct Inputs {
  Tensor latents, timestep, embedding;
};

class GraphProgramTest : public ::testing::Test {
 protected:
  // One thread: on tensors this small, waking a second one takes longer than the work.
  static void SetUpTestSuite() { at::set_num_threads(1); }

  /// Built once: the weights never change.
  static const GraphProgram& program(bool checkpointing = true) {
    static const backbone::Bundle bundle = backbone::Bundle::open(golden_bundle("nano_bundle"));
    static const GraphProgram with(bundle, at::kCPU, {.segment_memory = {SegmentMemory::recompute}});
    static const GraphProgram without(bundle, at::kCPU, {.segment_memory = {SegmentMemory::keep}});
    return checkpointing ? with : without;
  }
  static const Safetensors& goldens() {
    static const Safetensors file = load_safetensors(golden("inject/denoiser.safetensors"));
    return file;
  }
  static const Tensor& value(int64_t test_case, const char* name) {
    return goldens().at(fmt::format("{}.{}", test_case, name));
  }
  static Inputs inputs(int64_t test_case) {
    return {value(test_case, "latents"), value(test_case, "timestep"), value(test_case, "embedding")};
  }
  static int64_t cases() { return std::stoll(goldens().metadata.at("cases")); }

  /// Adapters with the values of the golden file.
  static AdapterSet adapters(bool gated = true) {
    AdapterSet set(program().sites(), std::stoll(goldens().metadata.at("rank")), gated, at::kCPU);
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < set.size(); ++i) {
      set.at(i).down.copy_(goldens().at(fmt::format("adapter.{}.down", i)));
      set.at(i).up.copy_(goldens().at(fmt::format("adapter.{}.up", i)));
      if (gated) set.at(i).gate.copy_(goldens().at(fmt::format("adapter.{}.gate", i)));
    }
    return set;
  }

  static Tensor run(const Inputs& in, const AdapterSet* set, const AdapterRun& how = {}, bool checkpointing = true) {
    return program(checkpointing).run(in.latents, in.timestep, in.embedding, set, how);
  }

  /// Flat gradient of the mean square of the prediction.
  static Tensor gradient(AdapterSet& set, const Inputs& in, const AdapterRun& how, bool checkpointing) {
    set.set_requires_grad(true);
    set.zero_gradient();
    run(in, &set, how, checkpointing).square().mean().backward();
    const Tensor result = set.flat_gradient().clone();
    set.set_requires_grad(false);
    return result;
  }
};

TEST_F(GraphProgramTest, SitesAreThePublishedList) {
  const auto expected = nlohmann::json::parse(goldens().metadata.at("sites"));
  const auto& sites = program().sites();
  ASSERT_EQ(sites.size(), expected.size());
  for (size_t i = 0; i < sites.size(); ++i) {
    EXPECT_EQ(sites[i].path, expected[i][0]);
    EXPECT_EQ(sites[i].group, expected[i][1]);
    EXPECT_EQ(sites[i].in_features, goldens().at(fmt::format("adapter.{}.down", i)).size(1));
    EXPECT_EQ(sites[i].out_features, goldens().at(fmt::format("adapter.{}.up", i)).size(0));
  }
}

TEST_F(GraphProgramTest, FrozenOutputEqualsDiffusersAtManySizes) {
  for (int64_t i = 0; i < cases(); ++i) {
    const Tensor found = run(inputs(i), nullptr);
    EXPECT_LT(difference(found, value(i, "frozen")), kRounding) << i;
    EXPECT_FALSE(found.requires_grad());
  }
}

TEST_F(GraphProgramTest, AdaptedOutputEqualsPythonAtManySizesInBothPoolings) {
  const AdapterSet set = adapters();
  for (int64_t i = 0; i < cases(); ++i) {
    EXPECT_LT(difference(run(inputs(i), &set), value(i, "sample")), kRounding) << i;
    EXPECT_LT(difference(run(inputs(i), &set, {.pooling = GatePooling::batch}), value(i, "batch")), kRounding) << i;
    EXPECT_GT(difference(value(i, "sample"), value(i, "frozen")), 1e-2) << i;  // else the adapters prove nothing
  }
  EXPECT_GT(difference(value(0, "sample"), value(0, "batch")), 10 * kRounding);
}

TEST_F(GraphProgramTest, ScaleAndGroupScaleAct) {
  const AdapterSet set = adapters();
  const AdapterRun how{.scale = 0.7, .group_scale = {{"spatial", 0.5}, {"temporal", -1.5}}};
  EXPECT_LT(difference(run(inputs(0), &set, how), value(0, "scaled")), kRounding);
  EXPECT_TRUE(at::equal(run(inputs(0), &set, {.scale = 0}), run(inputs(0), nullptr)));
}

TEST_F(GraphProgramTest, UngatedAdaptersArePlainLowRankAdaptation) {
  const GraphProgram plain(backbone::Bundle::open(golden_bundle("nano_bundle")), at::kCPU, {.gated = false});
  const AdapterSet set = adapters(false);
  const Inputs in = inputs(0);
  EXPECT_LT(difference(plain.run(in.latents, in.timestep, in.embedding, &set), value(0, "ungated")), kRounding);
  const AdapterSet gated = adapters();
  EXPECT_ERROR(plain.run(in.latents, in.timestep, in.embedding, &gated), Error, "gated");
}

TEST_F(GraphProgramTest, ZeroLoraUpIsTheFrozenModelBitForBit) {
  AdapterSet set(program().sites(), 3, true, at::kCPU);
  set.initialize(7, "uniform");
  for (const bool checkpointing : {true, false}) {
    for (int64_t i = 0; i < cases(); ++i) {
      const Tensor frozen = run(inputs(i), nullptr, {}, checkpointing);
      EXPECT_TRUE(at::equal(run(inputs(i), &set, {}, checkpointing), frozen)) << i;
      EXPECT_TRUE(at::equal(run(inputs(i), &set, {.dropout = 0.3, .dropout_seed = 5}, checkpointing), frozen)) << i;
    }
  }
}

TEST_F(GraphProgramTest, ABatchOfTwoEqualsTwoSingles) {
  const AdapterSet set = adapters();
  const Inputs both = inputs(0);
  const Tensor together = run(both, &set);
  for (int64_t b = 0; b < 2; ++b) {
    const Inputs one{both.latents.narrow(0, b, 1), both.timestep.narrow(0, b, 1), both.embedding.narrow(0, b, 1)};
    EXPECT_LT(difference(together.narrow(0, b, 1), run(one, &set)), kRounding);
  }
}

/// Against gradients computed in double precision by Python. fp32 forward and backward of some thirty layers: L2 over
/// each kind of tensor, since a single near-zero gate gradient may differ by far more than the whole.
TEST_F(GraphProgramTest, GradientsEqualPython) {
  const Safetensors expected = load_safetensors(golden("inject/gradients.safetensors"));
  AdapterSet set = adapters();
  set.set_requires_grad(true);
  Inputs in = inputs(0);
  in.latents = in.latents.clone().requires_grad_(true);
  const Tensor loss = run(in, &set).square().mean();
  EXPECT_NEAR(loss.item<double>(), std::stod(expected.metadata.at("loss")), 1e-5 * loss.item<double>());
  loss.backward();
  EXPECT_LT(difference(in.latents.grad(), expected.at("latents")), 1e-4);
  double squares[3] = {}, differences[3] = {};
  for (size_t i = 0; i < set.size(); ++i) {
    const Tensor* tensors[] = {&set.at(i).down, &set.at(i).up, &set.at(i).gate};
    const char* names[] = {"down", "up", "gate"};
    for (int k = 0; k < 3; ++k) {
      const Tensor& wanted = expected.at(fmt::format("{}.{}", i, names[k]));
      squares[k] += wanted.square().sum().item<double>();
      differences[k] += tensors[k]->grad().sub(wanted).square().sum().item<double>();
    }
  }
  for (int k = 0; k < 3; ++k) EXPECT_LT(std::sqrt(differences[k] / squares[k]), 1e-4) << k;
}

TEST_F(GraphProgramTest, CheckpointingChangesNoBitOfTheGradients) {
  AdapterSet set = adapters();
  for (const AdapterRun& how : {AdapterRun{}, AdapterRun{.dropout = 0.25, .dropout_seed = 11}}) {
    const Tensor plain = gradient(set, inputs(0), how, false);
    EXPECT_TRUE(at::equal(gradient(set, inputs(0), how, true), plain)) << how.dropout;
    EXPECT_GT(plain.norm().item<double>(), 0);
  }
  AdapterRun how{.dropout = 0.25, .dropout_seed = 11};
  const Tensor first = run(inputs(0), &set, how);
  EXPECT_TRUE(at::equal(first, run(inputs(0), &set, how, false)));
  how.dropout_seed = 12;
  EXPECT_FALSE(at::equal(first, run(inputs(0), &set, how)));
}

/// Nodes of the autograd graph below a tensor: what is kept alive between forward and backward.
size_t recorded_nodes(const Tensor& result) {
  std::set<const torch::autograd::Node*> seen;
  std::vector<const torch::autograd::Node*> open = {result.grad_fn().get()};
  while (!open.empty()) {
    const auto* node = open.back();
    open.pop_back();
    if (!node || !seen.insert(node).second) continue;
    for (const auto& edge : node->next_edges()) open.push_back(edge.function.get());
  }
  return seen.size();
}

TEST_F(GraphProgramTest, CheckpointingKeepsLittleAndOnlyWhereGradientsAreRecorded) {
  AdapterSet set = adapters();
  set.set_requires_grad(true);
  {
    at::NoGradGuard no_grad;
    EXPECT_FALSE(run(inputs(0), &set).requires_grad());
  }
  // The leaves (three a site) and the skip connections stay; all else is replaced by one node a segment.
  const size_t leaves = 3 * set.size();
  const size_t kept = recorded_nodes(run(inputs(0), &set, {}, true)) - leaves;
  const size_t plain = recorded_nodes(run(inputs(0), &set, {}, false)) - leaves;
  EXPECT_GT(kept, program().segment_names().size() / 2);
  EXPECT_LT(kept, plain / 10);
  set.set_requires_grad(false);
  EXPECT_FALSE(run(inputs(0), &set).requires_grad());
}

TEST_F(GraphProgramTest, TrainingNeverChangesTheFrozenModel) {
  const Tensor before = run(inputs(1), nullptr);
  AdapterSet set = adapters();
  for (int step = 0; step < 3; ++step) set.assign(set.flat().sub(gradient(set, inputs(1), {}, true), 0.1));
  EXPECT_TRUE(at::equal(run(inputs(1), nullptr), before));
  Inputs in = inputs(1);
  in.latents = in.latents.clone().requires_grad_(true);
  run(in, nullptr).square().mean().backward();  // to the input only
  EXPECT_GT(in.latents.grad().norm().item<double>(), 0);
}

TEST_F(GraphProgramTest, WrongInputsAreRefused) {
  const AdapterSet set = adapters();
  const Inputs in = inputs(0);
  const auto fails = [&](const Tensor& latents, const Tensor& timestep, const Tensor& embedding, const char* part) {
    EXPECT_ERROR(program().run(latents, timestep, embedding, &set), Error, part);
  };
  fails(in.latents.select(0, 0), in.timestep, in.embedding, "latents [B,C,F,h,w]: expected shape");
  fails(in.latents.narrow(1, 0, 3), in.timestep, in.embedding, "latents [B,C,F,h,w]: expected shape");
  fails(in.latents.narrow(2, 0, 0), in.timestep, in.embedding, "empty");
  fails(in.latents, in.timestep.narrow(0, 0, 1), in.embedding, "timestep [B]");
  fails(in.latents, in.timestep.to(at::kFloat), in.embedding, "timestep must be int64");
  fails(in.latents, in.timestep, in.embedding.narrow(2, 0, 8), "prompt embedding [B,L,D]");
  EXPECT_ERROR(run(in, &set, {.group_scale = {{"spacial", 1}}}), Error, "`spacial`", "did you mean `spatial`");
  EXPECT_ERROR(run(in, &set, {.dropout = 1}), Error, "dropout must lie in [0, 1)");
  auto sites = program().sites();
  sites.pop_back();
  const AdapterSet other(sites, 2, true, at::kCPU);
  EXPECT_ERROR(run(in, &other), Error, "other sites");
}

TEST_F(GraphProgramTest, SizeRulesOfTheManifestAreKept) {
  const BundleCopy copy;
  copy.edit([](auto& m) { m["denoiser"].update({{"height_multiple", 2}, {"frames_multiple", 2}}); });
  const GraphProgram strict(backbone::Bundle::open(copy.path()), at::kCPU);
  const Tensor time = at::zeros({1}, at::kLong), text = at::zeros({1, 4, 16});
  EXPECT_ERROR(strict.run(at::zeros({1, 4, 2, 5, 4}), time, text, nullptr), Error, "5 high", "multiples of 2 and 1");
  EXPECT_ERROR(strict.run(at::zeros({1, 4, 3, 4, 4}), time, text, nullptr), Error, "3 frames", "multiples of 2");
  EXPECT_NO_THROW(strict.run(at::zeros({1, 4, 2, 4, 4}), time, text, nullptr));
}

struct Damage {
  std::string name;
  std::function<void(nlohmann::json&)> change;
  std::vector<std::string> parts;
};

class DenoiserDamage : public ::testing::TestWithParam<Damage> {};

TEST_P(DenoiserDamage, IsAClearError) {
  const BundleCopy copy;
  copy.edit([](auto& m) { GetParam().change(m["denoiser"]); });
  const backbone::Bundle bundle = backbone::Bundle::open(copy.path());
  try {
    const GraphProgram program(bundle, at::kCPU);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    testing::expect_parts(error.what(), GetParam().parts);
  }
}

const std::vector<Damage> kDamages = {
    {"rule_matches_nothing",
     [](auto& d) { d["adapter_rules"][0]["ancestor_class"] = "Transformer3DModel"; },
     {"no module of class Transformer3DModel", "there is Transformer2DModel", "export it again"}},
    {"rule_matches_another_number",
     [](auto& d) { d["adapter_rules"][0]["names"] = {"attn1"}; },
     {"(attn1 below Transformer2DModel)", "the bundle states"}},
    {"rule_names_a_part_above_its_ancestor",
     [](auto& d) { d["adapter_rules"][0]["names"] = {"attentions"}; },
     {"(attentions below Transformer2DModel)", "matches 0 linears"}},
    {"rule_count",
     [](auto& d) { d["adapter_rules"][1]["sites"] = 1; },
     {"TransformerTemporalModel", "the bundle states 1"}},
    {"two_rules_one_linear",
     [](auto& d) { d["adapter_rules"].push_back(d["adapter_rules"][0]); },
     {"two adapter rules", "to_q"}},
    {"module_root", [](auto& d) { d["module_root"] = "transformer"; }, {"no module `transformer`", "module_root"}},
    {"segment_matches_nothing",
     [](auto& d) { d["segments"].push_back("blocks\\.[0-9]+"); },
     {"segment pattern blocks", "matches no module"}},
};

INSTANTIATE_TEST_SUITE_P(Bundle, DenoiserDamage, ::testing::ValuesIn(kDamages),
                         [](const auto& damage) { return damage.param.name; });

}  // namespace
}  // namespace jointtuner::inject
