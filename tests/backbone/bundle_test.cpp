#include "jointtuner/backbone/bundle.h"

#include <cstdlib>

#include "support/expect_error.h"
#include "support/nano_bundle.h"

namespace jointtuner::backbone {
namespace {

using testing::BundleCopy;
using testing::golden_bundle;
using testing::TemporaryFolder;

/// Notes about verified files go to a folder of the test.
class BundleTest : public ::testing::Test {
 protected:
  void SetUp() override { ::setenv("XDG_CACHE_HOME", cache_.path().c_str(), 1); }
  void TearDown() override { ::unsetenv("XDG_CACHE_HOME"); }

  TemporaryFolder cache_;
};

TEST_F(BundleTest, OpensWithEveryField) {
  const Bundle bundle = Bundle::open(golden_bundle("nano_bundle"), Verify::contents);
  const Manifest& manifest = bundle.manifest();
  EXPECT_EQ(manifest.family, "unet3d");
  EXPECT_EQ(manifest.source_class, "TextToVideoSDPipeline");
  EXPECT_EQ(manifest.denoiser.dtype, c10::ScalarType::Float);
  EXPECT_EQ(manifest.files.size(), 5);
  EXPECT_EQ(manifest.denoiser.inputs, (std::vector<std::string>{"latents", "timestep", "prompt_embedding"}));
  ASSERT_EQ(manifest.denoiser.adapter_rules.size(), 2);
  EXPECT_EQ(manifest.denoiser.adapter_rules[1].ancestor_class, "TransformerTemporalModel");
  EXPECT_EQ(manifest.denoiser.adapter_rules[1].names, (std::vector<std::string>{"attn1", "attn2", "ff"}));
  EXPECT_EQ(manifest.denoiser.adapter_rules[1].group, "temporal");
  EXPECT_EQ(manifest.denoiser.gate_init, "uniform");
  EXPECT_EQ(manifest.schedule.beta_schedule, "scaled_linear");
  EXPECT_DOUBLE_EQ(manifest.schedule.beta_end, 0.012);
  EXPECT_EQ(manifest.schedule.steps_offset, 1);
  EXPECT_EQ(manifest.latents.spatial_compression, 2);
  EXPECT_DOUBLE_EQ(manifest.latents.scaling_factor, 0.18215);
  EXPECT_EQ(manifest.text.max_length, 16);
  EXPECT_EQ(manifest.text.embedding_width, 16);
  EXPECT_EQ(tokenizer_files(manifest.text), (std::vector<std::string>{"tokenizer/vocab.json", "tokenizer/merges.txt"}));
  EXPECT_EQ(manifest.preferred.steps, 30);
  EXPECT_EQ(manifest.preferred.guidance_schedule, "constant");
  EXPECT_EQ(bundle.file("denoiser.pt"), golden_bundle("nano_bundle") / "denoiser.pt");
  EXPECT_EQ(bundle.sha256("denoiser.pt"), manifest.files.at("denoiser.pt").sha256);
  EXPECT_ERROR(bundle.sha256("other.pt"), Error, "other.pt");
}

TEST_F(BundleTest, MissingFolderAndForeignFolder) {
  EXPECT_ERROR(Bundle::open("/nowhere/bundle"), Error, "/nowhere/bundle", "no such folder", "export_backbone.sh");
  EXPECT_ERROR(Bundle::open(cache_.path()), Error, "no bundle.json", "export_backbone.sh");
}

TEST_F(BundleTest, MissingTruncatedAndChangedFiles) {
  const BundleCopy copy;
  copy.flip_byte("denoiser.pt");
  EXPECT_ERROR(Bundle::open(copy.path()), Error, "denoiser.pt", "SHA-256", "expected", "damaged");
  EXPECT_NO_THROW(Bundle::open(copy.path(), Verify::sizes));
  std::filesystem::resize_file(copy.path() / "autoencoder.pt", 1000);
  EXPECT_ERROR(Bundle::open(copy.path(), Verify::sizes), Error, "autoencoder.pt", "has 1000 bytes, expected",
               "truncated");
  std::filesystem::remove(copy.path() / "autoencoder.pt");
  EXPECT_ERROR(Bundle::open(copy.path(), Verify::sizes), Error, "autoencoder.pt", "missing", "export the bundle again");
}

TEST_F(BundleTest, AFileThatWasGoodAndThenChangedIsHashedAgain) {
  const BundleCopy copy;
  EXPECT_NO_THROW(Bundle::open(copy.path()));
  EXPECT_NO_THROW(Bundle::open(copy.path()));
  copy.flip_byte("text_encoder.pt");
  EXPECT_ERROR(Bundle::open(copy.path()), Error, "text_encoder.pt", "SHA-256");
  copy.flip_byte("text_encoder.pt");
  EXPECT_NO_THROW(Bundle::open(copy.path()));
}

TEST_F(BundleTest, WorksWithoutAPlaceForNotes) {
  ::setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
  EXPECT_NO_THROW(Bundle::open(golden_bundle("nano_bundle")));
}

TEST_F(BundleTest, OtherVersionsAreToldByTheirVersion) {
  const BundleCopy copy;
  copy.edit([](auto& m) { m = {{"format", "jointtuner-bundle"}, {"version", 3}}; });
  EXPECT_ERROR(Bundle::open(copy.path()), Error, "bundle.json", "version 3", "reads version 2 only",
               "newer jointtuner");
  copy.edit([](auto& m) { m["version"] = 1; });
  EXPECT_ERROR(Bundle::open(copy.path()), Error, "version 1", "Export the bundle again");
  copy.edit([](auto& m) { m["format"] = "something"; });
  EXPECT_ERROR(Bundle::open(copy.path()), Error, "`format`", "something");
  std::ofstream(copy.path() / "bundle.json") << "{\"format\": ";
  EXPECT_ERROR(Bundle::open(copy.path()), Error, "bundle.json", "not valid JSON");
}

struct Damage {
  std::string name;
  std::function<void(nlohmann::json&)> change;
  std::vector<std::string> parts;
};

class BundleDamage : public ::testing::TestWithParam<Damage> {};

TEST_P(BundleDamage, IsOneClearError) {
  const BundleCopy copy;
  copy.edit(GetParam().change);
  try {
    Bundle::open(copy.path(), Verify::sizes);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    testing::expect_parts(error.what(), GetParam().parts);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

const std::vector<Damage> kDamages = {
    {"unknown_key",
     [](auto& m) { m["denoiser"]["in_chanels"] = 4; },
     {"unknown field `denoiser.in_chanels`", "did you mean `in_channels`"}},
    {"unknown_key_above", [](auto& m) { m["extra"] = 1; }, {"unknown field `extra`"}},
    {"missing_field", [](auto& m) { m["schedule"].erase("beta_start"); }, {"`schedule.beta_start` is missing"}},
    {"missing_part", [](auto& m) { m.erase("latents"); }, {"`latents` is missing"}},
    {"wrong_type",
     [](auto& m) { m["denoiser"]["in_channels"] = "4"; },
     {"`denoiser.in_channels`", "whole number", "found \"4\""}},
    {"fraction", [](auto& m) { m["text"]["max_length"] = 16.5; }, {"`text.max_length`", "found 16.5"}},
    {"out_of_range",
     [](auto& m) { m["denoiser"]["frames_multiple"] = 0; },
     {"`denoiser.frames_multiple`", "from 1", "found 0"}},
    {"truth_as_text",
     [](auto& m) { m["schedule"]["clip_sample"] = "False"; },
     {"`schedule.clip_sample`", "true or false"}},
    {"zero_scaling", [](auto& m) { m["latents"]["scaling_factor"] = 0; }, {"`latents.scaling_factor`", "above 0"}},
    {"unknown_dtype",
     [](auto& m) { m["text"]["dtype"] = "float8"; },
     {"`text.dtype`", "float32, float16, bfloat16", "float8"}},
    {"unknown_role",
     [](auto& m) { m["denoiser"]["inputs"][1] = "camera"; },
     {"unknown input role `camera`", "newer jointtuner"}},
    {"role_without_positions",
     [](auto& m) { m["denoiser"]["inputs"][1] = "rope_cos"; },
     {"`denoiser.inputs`", "each of latents, timestep, prompt_embedding once"}},
    {"positions_without_role",
     [](auto& m) {
       m["denoiser"]["positional"] = {
           {"kind", "sincos_3d"}, {"width", 32}, {"patch", 2}, {"spatial_scale", 1.875}, {"temporal_scale", 1}};
     },
     {"`denoiser.inputs`", "positional_table"}},
    {"positions_of_another_kind",
     [](auto& m) { m["denoiser"]["positional"]["theta"] = 10000; },
     {"unknown field `denoiser.positional.theta`"}},
    {"chunks_missing", [](auto& m) { m["autoencoder"]["kind"] = "causal_3d"; }, {"`autoencoder.encode` is missing"}},
    {"chunks_not_ascending",
     [](auto& m) {
       m["autoencoder"]["kind"] = "causal_3d";
       m["autoencoder"]["encode"] = {{"first", {9, 1}}, {"next", 8}};
     },
     {"`autoencoder.encode.first`", "ascending"}},
    {"tokenizer_kind", [](auto& m) { m["text"]["tokenizer"]["kind"] = "bert"; }, {"clip_bpe, sentencepiece", "bert"}},
    {"tokenizer_file",
     [](auto& m) { m["text"]["tokenizer"]["vocab"] = "v.json"; },
     {"`text.tokenizer` names v.json", "not listed"}},
    {"role_twice", [](auto& m) { m["denoiser"]["inputs"][1] = "latents"; }, {"`denoiser.inputs`", "once"}},
    {"bad_regex", [](auto& m) { m["denoiser"]["segments"][0] = "(a"; }, {"`denoiser.segments`", "(a"}},
    {"rules_empty",
     [](auto& m) { m["denoiser"]["adapter_rules"] = nlohmann::json::array(); },
     {"`denoiser.adapter_rules`", "not empty"}},
    {"rule_field",
     [](auto& m) { m["denoiser"]["adapter_rules"][1]["sites"] = 0; },
     {"`denoiser.adapter_rules[1].sites`"}},
    {"file_not_listed",
     [](auto& m) { m["denoiser"]["file"] = "unet.pt"; },
     {"`denoiser.file` names unet.pt", "not listed"}},
    {"file_outside",
     [](auto& m) { m["files"]["../x.pt"] = m["files"]["denoiser.pt"]; },
     {"../x.pt", "inside the bundle's folder"}},
    {"bad_hash_text", [](auto& m) { m["files"]["denoiser.pt"]["sha256"] = "abc"; }, {"64 hexadecimal digits"}},
    {"channels_differ", [](auto& m) { m["latents"]["channels"] = 8; }, {"in_channels` is 4", "channels` is 8"}},
    {"attention_mask", [](auto& m) { m["text"]["attention_mask"] = true; }, {"`text.attention_mask`", "not supported"}},
};

INSTANTIATE_TEST_SUITE_P(Manifest, BundleDamage, ::testing::ValuesIn(kDamages),
                         [](const auto& damage) { return damage.param.name; });

TEST_F(BundleTest, AnyFamilyIsAccepted) {
  const BundleCopy copy;
  copy.edit([](auto& m) { m["family"] = "another"; });
  EXPECT_EQ(Bundle::open(copy.path()).manifest().family, "another");
}

}  // namespace
}  // namespace jointtuner::backbone
