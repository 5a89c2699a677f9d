#include "jointtuner/train/checkpoint.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fake_run.h"
#include "full_disk.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

namespace {

struct Saved {
  Saved() {
    optimizer.step(formula({adapters.parameters()}, 60), 0.01);
    loss_scaler.update(false);
    state.step = 500;
    state.epoch = 3;
    state.identity = fake_identity();
    metadata = fake_options().metadata;
  }
  TrainingState training() { return {adapters, optimizer, loss_scaler}; }
  void save(const std::filesystem::path& path) { save_checkpoint(path, state, training(), metadata); }

  adapter::AdapterSet adapters = fake_adapters();
  AdamW optimizer{adapters.flat(), {}};
  LossScaler loss_scaler{true};
  CheckpointState state;
  adapter::AdapterMetadata metadata;
};

void damage(const std::filesystem::path& path) {
  std::string bytes = bytes_of(path);
  bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

TEST(Checkpoint, NameSortsByStep) {
  EXPECT_EQ(checkpoint_name(500), "step_00000500");
  EXPECT_EQ(checkpoint_name(123456789), "step_123456789");
}

TEST(Checkpoint, RoundTripIsExact) {
  const testing::TemporaryFolder folder;
  Saved saved;
  saved.save(folder / "a");
  const CheckpointState state = load_checkpoint_state(folder / "a");
  EXPECT_EQ(state.step, 500);
  EXPECT_EQ(state.epoch, 3);
  EXPECT_EQ(state.loss_scaler.scale, 32768.0);
  EXPECT_EQ(state.identity.data_hash, "data");
  EXPECT_EQ(reason_not_to_resume(state.identity, fake_identity()), "");

  adapter::AdapterSet adapters = fake_adapters();
  adapters.flat().zero_();
  AdamW optimizer(adapters.flat(), {});
  LossScaler scaler(true);
  TrainingState training{adapters, optimizer, scaler};
  restore_checkpoint(folder / "a", state, training);
  EXPECT_TRUE(at::equal(adapters.flat(), saved.adapters.flat()));
  EXPECT_EQ(scaler.state(), saved.loss_scaler.state());
  // Saved again, every byte is the same.
  save_checkpoint(folder / "b", state, training, saved.metadata);
  for (const char* name : {"adapter.safetensors", "optimizer.safetensors", "state.json"})
    EXPECT_EQ(bytes_of(folder / "a" / name), bytes_of(folder / "b" / name)) << name;
  EXPECT_EQ(adapter::load_adapter(folder / "a" / "adapter.safetensors").metadata.step, 500);
}

TEST(Checkpoint, DamageIsNamed) {
  const testing::TemporaryFolder folder;
  Saved saved;
  saved.save(folder / "a");
  damage(folder / "a" / "optimizer.safetensors");
  EXPECT_ERROR(load_checkpoint_state(folder / "a"), Error, "optimizer.safetensors", "damaged", "SHA-256");
  saved.save(folder / "a");  // replaces it
  EXPECT_EQ(load_checkpoint_state(folder / "a").step, 500);
  std::filesystem::resize_file(folder / "a" / "adapter.safetensors", 40);
  EXPECT_ERROR(load_checkpoint_state(folder / "a"), Error, "adapter.safetensors", "40 found");
  std::filesystem::remove(folder / "a" / "adapter.safetensors");
  EXPECT_ERROR(load_checkpoint_state(folder / "a"), Error, "adapter.safetensors", "missing");
  std::filesystem::resize_file(folder / "a" / "state.json", 30);
  EXPECT_ERROR(load_checkpoint_state(folder / "a"), Error, "state.json", "damaged");
  std::ofstream(folder / "a" / "state.json") << R"({"format": "jointtuner-checkpoint", "version": 9})";
  EXPECT_ERROR(load_checkpoint_state(folder / "a"), Error, "state.json", "version 1", "version 9");
}

TEST(Checkpoint, FullDiskLeavesNothingUnderTheName) {
  const testing::TemporaryFolder folder;
  Saved saved;
  {
    const FullDisk full(100);
    EXPECT_ERROR(saved.save(folder / "a"), Error, "could not be written");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Checkpoint, ValuesThatAreNotFiniteAreNeverSaved) {
  const testing::TemporaryFolder folder;
  Saved saved;
  saved.adapters.flat()[3] = std::nanf("");
  EXPECT_ERROR(saved.save(folder / "a"), Error, "block.attn1.to_q.lora_down");
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
}

TEST(Checkpoint, ListIsByStepAndOnlyOfCompleteNames) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"step_00000500", "step_00000020", "step_123456789", "step_00000030.partial-1", "step_7"})
    std::filesystem::create_directory(folder / name);
  std::ofstream(folder / "step_00000040") << "a file";
  std::vector<int64_t> steps;
  for (const auto& [step, path] : list_checkpoints(folder.path())) steps.push_back(step);
  EXPECT_EQ(steps, (std::vector<int64_t>{20, 500, 123456789}));
  EXPECT_TRUE(list_checkpoints(folder / "absent").empty());
}

TEST(RunIdentity, NamesTheFirstDifference) {
  const auto reason = [](const std::string& saved, const std::string& now) {
    return reason_not_to_resume(fake_identity(saved), fake_identity(now));
  };
  EXPECT_EQ(reason(R"({"train": {"learning_rate": 0.5}})", R"({"train": {"learning_rate": 0.25}})"),
            "train.learning_rate was 0.5 and is 0.25 now");
  EXPECT_EQ(reason(R"({"run": {"seed": 0}})", R"({"run": {"seed": 1}})"), "run.seed was 0 and is 1 now");
  EXPECT_EQ(reason(R"({"adapter": {}})", R"({"adapter": {"rank": 4}})"), "adapter was {} and is absent now");
  EXPECT_EQ(reason(R"({"loss": {"video": "ait"}})", R"({"loss": {"video": "diffusion"}})"),
            "loss.video was \"ait\" and is \"diffusion\" now");
}

TEST(RunIdentity, SomeSettingsAreFree) {
  const std::string saved =
      R"({"about": "a", "run": {"name": "a", "device": "cpu", "threads": 1, "memory": "", "seed": 3},
    "data": {"images": [{"path": "a"}], "videos": [], "cache": "", "height": 8},
    "sample": {"steps": 30, "prompts": ["a"]}, "preview": {"every": 0},
    "train": {"steps": 5, "checkpoint_every": 1, "keep_checkpoints": 0, "activation_checkpointing": "off",
              "learning_rate_schedule": "constant"}})";
  const std::string now =
      R"({"about": "b", "run": {"name": "b", "device": "cuda", "threads": 2, "memory": "24GiB", "seed": 3},
    "data": {"images": [{"path": "b"}, {"path": "c"}], "videos": [{"path": "d"}], "cache": "x", "height": 8},
    "sample": {"steps": 40, "prompts": []}, "preview": {"every": 3},
    "train": {"steps": 9, "checkpoint_every": 2, "keep_checkpoints": 1, "activation_checkpointing": "offload",
              "learning_rate_schedule": "constant"}})";
  EXPECT_EQ(reason_not_to_resume(fake_identity(saved), fake_identity(now)), "");
}

TEST(RunIdentity, AnOptionThatIsGoneMattersWhereItChangedSomething) {
  const auto saved = [](const char* weight) {
    return fake_identity(fmt::format(R"({{"loss": {{"video": "ait", "static_weight": {}}}}})", weight));
  };
  const RunIdentity now = fake_identity(R"({"loss": {"video": "ait"}})");
  EXPECT_EQ(reason_not_to_resume(saved("0.0"), now), "");
  EXPECT_EQ(reason_not_to_resume(saved("0.25"), now), "loss.static_weight was 0.25 and is absent now");
}

TEST(RunIdentity, StepsShapeAFallingSchedule) {
  const std::string saved = R"({"train": {"steps": 5, "learning_rate_schedule": "cosine"}})";
  const std::string now = R"({"train": {"steps": 9, "learning_rate_schedule": "cosine"}})";
  EXPECT_EQ(reason_not_to_resume(fake_identity(saved), fake_identity(now)), "train.steps was 5 and is 9 now");
}

TEST(RunIdentity, DataAndBackboneAreComparedByHash) {
  RunIdentity other = fake_identity();
  other.data_hash = "0123456789abcdef";
  EXPECT_THAT(reason_not_to_resume(fake_identity(), other), ::testing::HasSubstr("data hash 0123456789ab"));
  other = fake_identity();
  other.denoiser_sha256 = "fedcba9876543210";
  EXPECT_THAT(reason_not_to_resume(fake_identity(), other), ::testing::HasSubstr("backbone.bundle"));
}

}  // namespace jointtuner::train
