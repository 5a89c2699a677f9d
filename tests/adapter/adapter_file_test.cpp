#include "jointtuner/adapter/adapter_file.h"

#include <gtest/gtest.h>

#include <limits>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/safetensors.h"
#include "list_tensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::adapter {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

AdapterMetadata example_metadata() {
  AdapterMetadata metadata;
  metadata.rank = kListRank;
  metadata.scale = 0.1;
  metadata.dropout = 1.0 / 3;
  metadata.gate_pooling = GatePooling::batch;
  metadata.family = "unet3d";
  metadata.denoiser_sha256 = "abc";
  metadata.step = 2000;
  metadata.data_hash = "def";
  metadata.trained_with = {{"loss_video", "diffusion"}, {"loss_video_weight", "10"}};
  return metadata;
}

/// An adapter file in a folder of its own, for tests to damage.
class AdapterFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    save_adapter(path_, list_adapters(), example_metadata());
    contents_ = load_safetensors(path_);
  }
  Tensor& tensor(const std::string& name) {
    for (auto& [key, value] : contents_.tensors)
      if (key == name) return value;
    throw std::logic_error(name);
  }
  void remove(const std::string& name) {
    std::erase_if(contents_.tensors, [&](const auto& entry) { return entry.first == name; });
  }
  AdapterFile reload() {
    save_safetensors(path_, contents_);
    return load_adapter(path_);
  }
  AdapterSet match(const std::vector<Site>& sites, const std::string& sha = "abc") {
    return match_adapter(load_adapter(path_), sites, sha, at::kCPU);
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_ / "adapter.safetensors";
  Safetensors contents_;
};

const std::string kFirst = "down_blocks.0.attn1.to_q";
const std::string kSecond = "mid_block.ff.net.2";

TEST_F(AdapterFileTest, WrittenThenReadIsTheIdentity) {
  const AdapterFile file = load_adapter(path_);
  EXPECT_EQ(file.metadata, example_metadata());
  ASSERT_EQ(file.tensors.size(), 6u);
  EXPECT_EQ(file.tensors[0].first, kFirst + ".lora_down");
  EXPECT_EQ(file.tensors[1].first, kFirst + ".lora_up");
  EXPECT_EQ(file.tensors[5].first, kSecond + ".lora_gate");
  EXPECT_TRUE(at::equal(match(list_sites()).flat(), list_adapters().flat()));
}

TEST_F(AdapterFileTest, MetadataIsWrittenAsStated) {
  EXPECT_EQ(contents_.metadata.at("format"), "jointtuner-adapter");
  EXPECT_EQ(contents_.metadata.at("scale"), "0.1");
  EXPECT_EQ(contents_.metadata.at("gate_pooling"), "batch");
  EXPECT_EQ(contents_.metadata.at("loss_video"), "diffusion");
  EXPECT_EQ(contents_.metadata.at("step"), "2000");
  EXPECT_EQ(contents_.metadata.at("loss_video_weight"), "10");
  EXPECT_EQ(contents_.metadata.size(), 13u);
}

TEST_F(AdapterFileTest, EqualContentsGiveEqualBytes) {
  AdapterSet adapters = match(list_sites());
  adapters.set_requires_grad(true);
  save_adapter(folder_ / "again.safetensors", adapters, load_adapter(path_).metadata);
  EXPECT_EQ(read_file(folder_ / "again.safetensors"), read_file(path_));
}

TEST_F(AdapterFileTest, UngatedAdaptersHaveNoGates) {
  AdapterMetadata metadata = example_metadata();
  metadata.gated = false;
  save_adapter(path_, list_adapters(false), metadata);
  EXPECT_EQ(load_adapter(path_).tensors.size(), 4u);
  EXPECT_FALSE(match(list_sites()).gated());
}

TEST_F(AdapterFileTest, TheHeaderAloneTellsMetadataAndShapes) {
  const AdapterFile file = load_adapter_header(path_);
  EXPECT_EQ(file.metadata, example_metadata());
  EXPECT_TRUE(file.tensors[1].second.is_meta());
  EXPECT_EQ(file.tensors[1].second.sizes(), at::IntArrayRef({8, 3}));
}

TEST_F(AdapterFileTest, SitesMayComeInAnotherOrder) {
  std::vector<Site> turned = list_sites();
  std::swap(turned[0], turned[1]);
  EXPECT_TRUE(same(match(turned).at(0).up, list_tensors()[3]));
}

TEST_F(AdapterFileTest, AnUnknownBackboneIsTakenWhenTheShapesFit) {
  contents_.metadata["denoiser_sha256"] = "";
  reload();
  EXPECT_NO_THROW(match(list_sites(), "anything"));
}

TEST_F(AdapterFileTest, RefusesAnotherBackbone) {
  EXPECT_ERROR(match(list_sites(), "xyz"), Error, "adapter.safetensors: was trained on another backbone",
               "family unet3d, denoiser SHA-256 abc", "SHA-256 xyz");
  EXPECT_ERROR(match({{"other", "", 6, 8}}), Error, "no site matches: its first is " + kFirst,
               "0 of its 2 sites match the backbone's 1");
  std::vector<Site> more = list_sites();
  more.push_back({"third", "", 4, 4});
  EXPECT_ERROR(match(more), Error, "the site third is missing", "2 of its 2 sites match the backbone's 3");
  EXPECT_ERROR(match({list_sites()[0]}), Error, "the backbone has no site " + kSecond, "1 of its 2 sites");
  std::vector<Site> wider = list_sites();
  wider[1].out_features = 11;
  EXPECT_ERROR(match(wider), Error, "tensor " + kSecond + ".lora_up", "expected shape [11, 3], found [10, 3]");
  wider = list_sites();
  wider[0].in_features = 7;
  EXPECT_ERROR(match(wider), Error, "tensor " + kFirst + ".lora_down", "expected shape [3, 7], found [3, 6]");
}

TEST_F(AdapterFileTest, RefusesWrongTensors) {
  const Safetensors good = contents_;
  tensor(kSecond + ".lora_up") = list_tensor(0, 10, 2);
  EXPECT_ERROR(reload(), Error, "adapter.safetensors: tensor " + kSecond + ".lora_up",
               "expected shape [*, 3], found [10, 2]");
  contents_ = good;
  contents_.metadata["rank"] = "4";
  EXPECT_ERROR(reload(), Error, "tensor " + kFirst + ".lora_down", "expected shape [4, *], found [3, 6]");
  contents_ = good;
  tensor(kFirst + ".lora_gate") = list_tensor(0, 2, 6);
  EXPECT_ERROR(reload(), Error, "tensor " + kFirst + ".lora_gate", "expected shape [1, *], found [2, 6]");
  contents_ = good;
  tensor(kFirst + ".lora_gate") = list_tensor(0, 1, 5);
  EXPECT_NO_THROW(reload());
  EXPECT_ERROR(match(list_sites()), Error, "tensor " + kFirst + ".lora_gate", "expected shape [1, 6], found [1, 5]");
  contents_ = good;
  tensor(kFirst + ".lora_up") = tensor(kFirst + ".lora_up").to(at::kHalf);
  EXPECT_ERROR(reload(), Error, "tensor " + kFirst + ".lora_up: expected dtype float32, found Half");
  contents_ = good;
  tensor(kSecond + ".lora_gate")[0][1].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_ERROR(reload(), Error, "tensor " + kSecond + ".lora_gate: holds a NaN or an infinity");
}

TEST_F(AdapterFileTest, RefusesMissingAndForeignTensors) {
  const Safetensors good = contents_;
  remove(kFirst + ".lora_up");
  EXPECT_ERROR(reload(), Error, "tensor " + kFirst + ".lora_up is missing");
  contents_ = good;
  remove(kSecond + ".lora_gate");
  EXPECT_ERROR(reload(), Error, "tensor " + kSecond + ".lora_gate is missing, although the metadata says gated true");
  contents_ = good;
  contents_.metadata["gated"] = "false";
  EXPECT_ERROR(reload(), Error, "tensor " + kFirst + ".lora_gate is there, although the metadata says gated false");
  contents_ = good;
  contents_.tensors.emplace_back("conv.weight", list_tensor(0, 1, 1));
  EXPECT_ERROR(reload(), Error, "tensor conv.weight: expected a name ending in .lora_down, .lora_up or .lora_gate");
  contents_ = good;
  contents_.tensors.clear();
  EXPECT_ERROR(reload(), Error, "holds no adapters");
}

TEST_F(AdapterFileTest, RefusesWrongMetadata) {
  const Safetensors good = contents_;
  for (const auto& [key, value] : good.metadata) {
    contents_ = good;
    contents_.metadata.erase(key);
    if (example_metadata().trained_with.contains(key)) continue;
    EXPECT_ERROR(reload(), Error, "adapter.safetensors: ", key == "format" ? "expected an adapter file" : key);
  }
  const auto with = [&](const std::string& key, const std::string& value) {
    contents_ = good;
    contents_.metadata[key] = value;
    return reload();
  };
  EXPECT_ERROR(with("format", "x"), Error,
               "expected an adapter file (metadata format \"jointtuner-adapter\"), found \"x\"");
  EXPECT_ERROR(with("version", "2"), Error, "expected version 1 of the adapter format, found \"2\"");
  EXPECT_ERROR(with("rank", "3x"), Error, "metadata entry \"rank\": expected a number, found \"3x\"");
  EXPECT_ERROR(with("rank", "0"), Error, "metadata entry \"rank\": expected at least 1, found 0");
  EXPECT_ERROR(with("scale", ""), Error, "metadata entry \"scale\": expected a number, found \"\"");
  EXPECT_ERROR(with("gated", "True"), Error, "metadata entry \"gated\": expected true or false, found \"True\"");
  EXPECT_ERROR(with("gate_pooling", "all"), Error, "expected sample or batch, found \"all\"");
}

TEST_F(AdapterFileTest, SettingsOfTheTrainingAreKeptWhateverTheyAre) {
  contents_.metadata.erase("loss_video_weight");  // as an older program wrote it
  contents_.metadata["loss_video"] = "of another program";
  contents_.metadata["loss_new"] = "0.1";
  const AdapterFile file = reload();
  EXPECT_EQ(file.metadata.trained_with,
            (std::map<std::string, std::string>{{"loss_new", "0.1"}, {"loss_video", "of another program"}}));
  save_adapter(folder_ / "again.safetensors", match(list_sites()), file.metadata);
  EXPECT_EQ(load_safetensors(folder_ / "again.safetensors").metadata, contents_.metadata);
}

TEST_F(AdapterFileTest, RefusesATruncatedFile) {
  const std::string whole = read_file(path_);
  for (size_t length = 0; length < whole.size(); length += 37) {
    write_atomically(path_, whole.substr(0, length));
    EXPECT_ERROR((void)load_adapter(path_), Error, "adapter.safetensors");
  }
  EXPECT_ERROR((void)load_adapter(folder_ / "absent.safetensors"), Error, "absent.safetensors");
}

TEST_F(AdapterFileTest, DoesNotWriteWhatCannotBeRead) {
  AdapterMetadata metadata = example_metadata();
  metadata.rank = 4;
  EXPECT_ERROR(save_adapter(path_, list_adapters(), metadata), Error, "metadata says rank 4, gated true",
               "have rank 3");
  metadata = example_metadata();
  metadata.gated = false;
  EXPECT_ERROR(save_adapter(path_, list_adapters(), metadata), Error, "metadata says rank 3, gated false");
  metadata = example_metadata();
  metadata.trained_with["step"] = "7";
  EXPECT_ERROR(save_adapter(path_, list_adapters(), metadata), Error, "not written: step is no setting");
  AdapterSet adapters = list_adapters();
  adapters.at(0).down[0][0].fill_(std::numeric_limits<float>::infinity());
  EXPECT_ERROR(save_adapter(path_, adapters, example_metadata()), Error,
               "not written: " + kFirst + ".lora_down holds a NaN or an infinity");
  EXPECT_EQ(load_adapter(path_).metadata, example_metadata());  // the old file is still there
}

}  // namespace
}  // namespace jointtuner::adapter
