#include "jointtuner/train/run_folder.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "fake_run.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

namespace {

namespace fs = std::filesystem;

struct State {
  adapter::AdapterSet adapters = fake_adapters();
  AdamW optimizer{adapters.flat(), {}};
  LossScaler loss_scaler{false};
  TrainingState training() { return {adapters, optimizer, loss_scaler}; }
  void save(const RunFolder& folder, int64_t step, int64_t keep = 0) {
    CheckpointState state;
    state.step = step;
    adapters.flat().fill_(static_cast<double>(step));
    folder.save(state, training(), fake_options().metadata, keep);
  }
};

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

double adapter_value(const fs::path& file) {
  return adapter::load_adapter(file).tensors.front().second.flatten()[0].item().toDouble();
}

}  // namespace

TEST(RunFolder, NewRunWritesItsConfig) {
  const testing::TemporaryFolder temporary;
  const RunFolder folder(temporary / "run", fake_identity(), false);
  EXPECT_EQ(bytes_of(temporary / "run" / "config.json"), "{\"train\": {\"steps\": 6}}\n");
  EXPECT_FALSE(folder.resumed());
  EXPECT_EQ(folder.first_step(), 0);
}

TEST(RunFolder, RefusesAFolderThatHoldsAnotherRun) {
  const testing::TemporaryFolder temporary;
  {
    const RunFolder folder(temporary / "run", fake_identity(), false);
    State().save(folder, 2);
  }
  EXPECT_ERROR(RunFolder(temporary / "run", fake_identity(), false), UsageError, "run: holds a run already", "--resume",
               "run.name");
  fs::remove_all(temporary / "run" / "checkpoints");
  EXPECT_ERROR(RunFolder(temporary / "run", fake_identity(), false), UsageError, "holds a run already");
  fs::remove(temporary / "run" / "adapter.safetensors");
  std::ofstream(temporary / "run" / "metrics.jsonl") << "{\"step\":1}\n";
  EXPECT_ERROR(RunFolder(temporary / "run", fake_identity(), false), UsageError, "holds a run already");
  // A run that failed before its first step is no obstacle.
  fs::resize_file(temporary / "run" / "metrics.jsonl", 0);
  RunFolder(temporary / "run", fake_identity(), false);
}

TEST(RunFolder, ResumeOfAnEmptyFolderStartsANewRun) {
  const testing::TemporaryFolder temporary;
  ::testing::internal::CaptureStderr();
  const RunFolder folder(temporary / "run", fake_identity(), true);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr("the run starts at step 0"));
  EXPECT_FALSE(folder.resumed());
  EXPECT_TRUE(fs::exists(temporary / "run" / "config.json"));
}

TEST(RunFolder, ResumeFindsTheNewestCheckpoint) {
  const testing::TemporaryFolder temporary;
  {
    const RunFolder folder(temporary / "run", fake_identity(), false);
    State state;
    for (const int64_t step : {2, 4, 10}) state.save(folder, step);
    EXPECT_EQ(adapter_value(folder.adapter()), 10);
  }
  const RunFolder folder(temporary / "run", fake_identity(), true);
  EXPECT_EQ(folder.first_step(), 10);
  State state;
  TrainingState training = state.training();
  folder.restore(training);
  EXPECT_EQ(state.adapters.flat()[0].item().toDouble(), 10);
}

TEST(RunFolder, DamagedNewestCheckpointIsPassedOver) {
  const testing::TemporaryFolder temporary;
  {
    const RunFolder folder(temporary / "run", fake_identity(), false);
    State state;
    for (const int64_t step : {2, 4, 10}) state.save(folder, step);
  }
  fs::resize_file(temporary / "run/checkpoints/step_00000010/optimizer.safetensors", 20);
  fs::remove(temporary / "run/checkpoints/step_00000004/state.json");
  ::testing::internal::CaptureStderr();
  const RunFolder folder(temporary / "run", fake_identity(), true);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, ::testing::HasSubstr("step_00000010/optimizer.safetensors: is damaged"));
  EXPECT_THAT(said, ::testing::HasSubstr("step_00000004/state.json"));
  EXPECT_EQ(folder.first_step(), 2);
  State state;
  TrainingState training = state.training();
  folder.restore(training);
  EXPECT_EQ(adapter_value(folder.adapter()), 2);  // the run's adapter is that of the checkpoint it goes on from
  // Going on, the damaged ones are replaced, and pruning does not mistake them for newer ones.
  state.save(folder, 3, 1);
  EXPECT_EQ(names_in(folder.checkpoints()),
            (std::vector<std::string>{"step_00000003", "step_00000004", "step_00000010"}));
  state.save(folder, 4);
  EXPECT_EQ(load_checkpoint_state(folder.checkpoint(4)).step, 4);
}

TEST(RunFolder, RefusesToContinueAnotherRun) {
  const testing::TemporaryFolder temporary;
  const std::string saved = R"({"adapter": {"rank": 2}})";
  {
    const RunFolder folder(temporary / "run", fake_identity(saved), false);
    State().save(folder, 2);
  }
  EXPECT_ERROR(RunFolder(temporary / "run", fake_identity(R"({"adapter": {"rank": 4}})"), true), UsageError,
               "cannot be resumed", "adapter.rank was 2 and is 4 now");
  EXPECT_EQ(bytes_of(temporary / "run" / "config.json"), saved + "\n");  // untouched
}

TEST(RunFolder, OneProcessAtATime) {
  const testing::TemporaryFolder temporary;
  {
    const RunFolder first(temporary / "run", fake_identity(), false);
    EXPECT_ERROR(RunFolder(temporary / "run", fake_identity(), true), Error, "another process is training");
  }
  RunFolder(temporary / "run", fake_identity(), true);
}

TEST(RunFolder, KeepsTheNewestCheckpoints) {
  const testing::TemporaryFolder temporary;
  const RunFolder folder(temporary / "run", fake_identity(), false);
  State state;
  for (const int64_t step : {1, 2, 3, 4}) state.save(folder, step, 2);
  EXPECT_EQ(names_in(folder.checkpoints()), (std::vector<std::string>{"step_00000003", "step_00000004"}));
}

TEST(RunFolder, AdapterIsTheCheckpointsFile) {
  const testing::TemporaryFolder temporary;
  const RunFolder folder(temporary / "run", fake_identity(), false);
  State state;
  state.save(folder, 1);
  EXPECT_TRUE(fs::equivalent(folder.adapter(), folder.checkpoint(1) / "adapter.safetensors"));
  state.save(folder, 2);
  EXPECT_TRUE(fs::equivalent(folder.adapter(), folder.checkpoint(2) / "adapter.safetensors"));
  // Publishing the same file again leaves no temporary name behind.
  State again;
  TrainingState training = again.training();
  folder.restore(training);
  EXPECT_EQ(names_in(folder.path()),
            (std::vector<std::string>{".lock", "adapter.safetensors", "checkpoints", "config.json"}));
}

TEST(RunFolder, CleansUpWhatAKilledProcessLeft) {
  const testing::TemporaryFolder temporary;
  constexpr const char* kLeft = "step_00000002.partial-999999999";
  fs::create_directories(temporary / "run/checkpoints" / kLeft);
  const RunFolder folder(temporary / "run", fake_identity(), false);
  EXPECT_FALSE(fs::exists(folder.checkpoints() / kLeft));
}

}  // namespace jointtuner::train
