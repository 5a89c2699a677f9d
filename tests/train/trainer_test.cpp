#include "jointtuner/train/trainer.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "fake_run.h"
#include "full_disk.h"
#include "jointtuner/base/interrupt.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Stands for a kill: nothing after it runs.
struct Killed : std::runtime_error {
  Killed() : std::runtime_error("killed") {}
};

/// The denoiser of the run fails at the `call`-th call (from 0); a mixed micro-batch makes two.
FakeRun::Wrap killed_at(int64_t micro_step) {
  return [micro_step](Denoise denoise) -> Denoise {
    auto begun = std::make_shared<int64_t>(-1);
    auto last_seed = std::make_shared<int64_t>(-1);
    return [=](const Tensor& latents, const Tensor& timestep, const Tensor& prompt, int64_t dropout_seed) {
      *begun += dropout_seed == *last_seed ? 0 : 1;  // one seed a micro-step
      *last_seed = dropout_seed;
      if (*begun == micro_step) throw Killed();
      return denoise(latents, timestep, prompt, dropout_seed);
    };
  };
}

/// The prediction times `factor` from the `from`-th call on, for `calls` calls.
FakeRun::Wrap spoilt(double factor, int64_t from, int64_t calls = 1) {
  return [=](Denoise denoise) -> Denoise {
    auto call = std::make_shared<int64_t>(0);
    return [=](const Tensor& latents, const Tensor& timestep, const Tensor& prompt, int64_t dropout_seed) {
      const Tensor prediction = denoise(latents, timestep, prompt, dropout_seed);
      const int64_t number = (*call)++;
      return number >= from && number < from + calls ? prediction * factor : prediction;
    };
  };
}

FakeRun::Wrap unchanged() {
  return [](Denoise denoise) { return denoise; };
}

/// metrics.jsonl without what depends on the clock and the machine.
std::vector<json> metrics_of(const fs::path& run) {
  std::vector<json> lines;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    json object = json::parse(line);
    for (const char* key : {"seconds", "samples_per_second", "peak_memory_bytes"}) {
      EXPECT_GT(object.at(key).get<double>(), 0) << key;
      object.erase(key);
    }
    lines.push_back(object);
  }
  return lines;
}

void expect_same_run(const fs::path& run, const fs::path& expected) {
  EXPECT_EQ(metrics_of(run), metrics_of(expected));
  EXPECT_EQ(bytes_of(run / "adapter.safetensors"), bytes_of(expected / "adapter.safetensors"));
  for (const auto& [step, folder] : list_checkpoints(expected / "checkpoints")) {
    for (const char* name : {"adapter.safetensors", "optimizer.safetensors", "state.json"}) {
      const fs::path other = run / "checkpoints" / checkpoint_name(step) / name;
      EXPECT_EQ(bytes_of(other), bytes_of(folder / name)) << other;
    }
  }
  EXPECT_EQ(list_checkpoints(run / "checkpoints").size(), list_checkpoints(expected / "checkpoints").size());
}

}  // namespace

TEST(Trainer, WritesEveryStepAndCheckpoint) {
  const testing::TemporaryFolder temporary;
  std::vector<int64_t> told;
  TrainerOptions options = fake_options();
  options.after_checkpoint = [&told](int64_t step) { told.push_back(step); };
  FakeRun run(temporary / "run", options);
  run.trainer.run();
  const auto lines = metrics_of(temporary / "run");
  ASSERT_EQ(lines.size(), 6u);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["step"], i + 1);
    EXPECT_EQ(lines[i]["items"].size(), 3u);
    EXPECT_EQ(lines[i]["epoch"], static_cast<int64_t>(i) * 3 / 4);
    EXPECT_GT(lines[i]["loss"].get<double>(), 0);
    EXPECT_GT(lines[i]["mean_gate"].get<double>(), 0.3);
    EXPECT_LT(lines[i]["mean_gate"].get<double>(), 0.7);
  }
  std::vector<int64_t> steps;
  for (const auto& [step, folder] : list_checkpoints(run.folder.checkpoints())) steps.push_back(step);
  EXPECT_EQ(steps, (std::vector<int64_t>{2, 4, 6}));
  EXPECT_EQ(told, steps);
  EXPECT_EQ(load_checkpoint_state(run.folder.checkpoint(4)).epoch, 3);  // 4 steps of 3 items are 3 rounds of 4
}

TEST(Trainer, StepsAreAdamWOnTheStepsGradient) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options(2);
  options.train.gradient_clip = 0.5;
  FakeRun run(temporary / "run", options);
  run.trainer.run();

  FakeRun by_hand(temporary / "by_hand", options);
  AdamW optimizer(by_hand.adapters.flat(), options.train);
  for (int64_t step = 0; step < 2; ++step) {
    by_hand.adapters.zero_gradient();
    by_hand.step.run(by_hand.batches.at(step));
    const double norm = gradient_norm(by_hand.adapters.flat_gradient()).item().toDouble();
    EXPECT_EQ(metrics_of(temporary / "run").at(static_cast<size_t>(step))["gradient_norm"], norm);
    EXPECT_GT(norm, 0.5);  // so that clipping is seen
    clip_gradient(by_hand.adapters.flat_gradient(), norm, 0.5);
    optimizer.step(by_hand.adapters.flat_gradient(), 0.01);
  }
  EXPECT_TRUE(at::equal(run.adapters.flat(), by_hand.adapters.flat()));
  EXPECT_FALSE(at::equal(run.adapters.flat(), fake_adapters().flat()));
}

TEST(Trainer, AccumulationAveragesMicroBatches) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options(2);
  options.train.accumulation = 2;
  FakeRun run(temporary / "run", options);
  run.trainer.run();
  const auto lines = metrics_of(temporary / "run");
  ASSERT_EQ(lines.size(), 2u);

  FakeRun by_hand(temporary / "by_hand");
  by_hand.adapters.set_requires_grad(true);
  const TrainingStepResult first = by_hand.step.run(by_hand.batches.at(0), 0.5);
  const TrainingStepResult second = by_hand.step.run(by_hand.batches.at(1), 0.5);
  EXPECT_EQ(lines[0]["gradient_norm"], gradient_norm(by_hand.adapters.flat_gradient()).item().toDouble());
  EXPECT_DOUBLE_EQ(lines[0]["loss"].get<double>(), (first.loss + second.loss) / 2);
  EXPECT_EQ(lines[0]["items"].size(), 6u);
  EXPECT_EQ(lines[1]["items"][0]["timestep"], by_hand.step.run(by_hand.batches.at(2)).items[0].timestep);
}

TEST(Trainer, KilledAtAnyStepAndResumedItGivesTheSameBytes) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options();
  options.train.learning_rate_schedule = "cosine";
  options.train.warmup_steps = 2;
  options.train.accumulation = 2;
  FakeRun(temporary / "whole", options).trainer.run();
  for (int64_t micro_step = 0; micro_step < 12; ++micro_step) {
    const fs::path path = temporary / ("run" + std::to_string(micro_step));
    EXPECT_THROW(FakeRun(path, options, false, killed_at(micro_step)).trainer.run(), Killed);
    FakeRun resumed(path, options, true);
    EXPECT_EQ(resumed.folder.first_step(), micro_step / 2 / 2 * 2);
    resumed.trainer.run();
    expect_same_run(path, temporary / "whole");
  }
}

TEST(Trainer, KilledAgainAndAgain) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options();
  options.train.checkpoint_every = 1;
  FakeRun(temporary / "whole", options).trainer.run();
  for (int64_t i = 0; i < 6; ++i) {  // each time one step further
    EXPECT_THROW(FakeRun(temporary / "run", options, true, killed_at(i == 0 ? 0 : 1)).trainer.run(), Killed);
    if (i == 4) break;
  }
  FakeRun(temporary / "run", options, true).trainer.run();
  expect_same_run(temporary / "run", temporary / "whole");
}

TEST(Trainer, ResumedUnderALossScalerGivesTheSameBytes) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options();
  options.loss_scaling = true;
  // The second micro-batch's predictions overflow in both: the third and fourth call of the denoiser, after step 1.
  const auto overflowing = spoilt(std::numeric_limits<double>::infinity(), 2);
  FakeRun(temporary / "whole", options, false, overflowing).trainer.run();
  const auto lines = metrics_of(temporary / "whole");
  EXPECT_EQ(lines[0]["skipped"], false);
  EXPECT_EQ(lines[1]["skipped"], true);
  EXPECT_EQ(lines[1]["loss_scale"], 65536.0);
  EXPECT_EQ(lines[2]["loss_scale"], 32768.0);
  EXPECT_THROW(FakeRun(temporary / "run", options, false,
                       [&](Denoise denoise) { return killed_at(4)(overflowing(std::move(denoise))); })
                   .trainer.run(),
               Killed);
  FakeRun(temporary / "run", options, true).trainer.run();
  expect_same_run(temporary / "run", temporary / "whole");
}

TEST(Trainer, SkippedStepLeavesTheParameters) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options(1);
  options.loss_scaling = true;
  FakeRun run(temporary / "run", options, false, spoilt(std::nan(""), 0, 2));
  run.trainer.run();
  EXPECT_TRUE(at::equal(run.adapters.flat(), fake_adapters().flat()));
  EXPECT_EQ(load_safetensors(run.folder.checkpoint(1) / "optimizer.safetensors").at("step").item().toDouble(), 0);
}

TEST(Trainer, LossScalingDoesNotChangeTheResult) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options();
  FakeRun plain(temporary / "plain", options);
  plain.trainer.run();
  options.loss_scaling = true;
  FakeRun scaled(temporary / "scaled", options);
  scaled.trainer.run();
  EXPECT_TRUE(at::equal(plain.adapters.flat(), scaled.adapters.flat()));  // powers of two are exact
}

TEST(Trainer, StopsAtALossThatIsNotFinite) {
  const testing::TemporaryFolder temporary;
  // Calls 0 and 1 are step 1's images and videos ... the 7th is of step 4 at the latest.
  FakeRun run(temporary / "run", fake_options(), false, spoilt(std::nan(""), 6));
  std::string message;
  try {
    run.trainer.run();
    ADD_FAILURE() << "the run went on";
  } catch (const Error& error) {
    message = error.what();
  }
  const int64_t failed = run.trainer.step();
  EXPECT_THAT(message, ::testing::HasSubstr("step " + std::to_string(failed + 1) + ": the loss is not finite"));
  EXPECT_THAT(message, ::testing::HasSubstr("at timestep "));
  EXPECT_THAT(message, ::testing::ContainsRegex("(images|videos)/[0-3]"));
  EXPECT_EQ(metrics_of(temporary / "run").size(), static_cast<size_t>(failed));
  const auto checkpoints = list_checkpoints(run.folder.checkpoints());
  ASSERT_FALSE(checkpoints.empty());
  EXPECT_EQ(checkpoints.rbegin()->first, failed / 2 * 2);
  EXPECT_EQ(load_checkpoint_state(checkpoints.rbegin()->second).step, failed / 2 * 2);
  EXPECT_EQ(run.adapters.first_non_finite(), "");
}

TEST(Trainer, NamesAllItemsWhenOnlyTheGradientIsNotFinite) {
  const testing::TemporaryFolder temporary;
  FakeRun run(temporary / "run", fake_options(), false, [](Denoise denoise) -> Denoise {
    return [=](const Tensor& latents, const Tensor& timestep, const Tensor& prompt, int64_t dropout_seed) {
      Tensor prediction = denoise(latents, timestep, prompt, dropout_seed);
      prediction.register_hook([](const Tensor& gradient) { return gradient / 0; });
      return prediction;
    };
  });
  EXPECT_ERROR(run.trainer.run(), Error, "step 1: the gradient is not finite", "timestep", "train.learning_rate");
}

TEST(Trainer, InterruptedItSavesAndSaysHowToGoOn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const testing::TemporaryFolder temporary;
  // In a process of its own: the flag of an interrupt stays up.
  const auto interrupted_run = [&temporary] {
    install_interrupt_handler();
    TrainerOptions options = fake_options();
    options.train.checkpoint_every = 0;
    FakeRun run(temporary / "run", options, false, [](Denoise denoise) -> Denoise {
      auto calls = std::make_shared<int>(0);
      return [=](const Tensor& latents, const Tensor& timestep, const Tensor& prompt, int64_t dropout_seed) {
        if (++*calls == 4) ::raise(SIGINT);
        return denoise(latents, timestep, prompt, dropout_seed);
      };
    });
    try {
      run.trainer.run();
    } catch (const Interrupted& error) {
      const int64_t step = run.trainer.step();
      const bool saved = load_checkpoint_state(run.folder.checkpoint(step)).step == step;
      std::fprintf(stderr, "\n%s\n", error.what());
      std::_Exit(saved && step < 6 ? 3 : 4);
    }
    std::_Exit(5);
  };
  EXPECT_EXIT(interrupted_run(), ::testing::ExitedWithCode(3), "stopped after step [1-5] of 6.*--resume");
}

TEST(Trainer, MoreStepsContinueAFinishedRun) {
  const testing::TemporaryFolder temporary;
  FakeRun(temporary / "whole", fake_options(6)).trainer.run();
  FakeRun(temporary / "run", fake_options(4)).trainer.run();
  EXPECT_ERROR(FakeRun(temporary / "run", fake_options(3), true), UsageError, "train.steps", "3 steps", "4 already");
  FakeRun finished(temporary / "run", fake_options(4), true);
  finished.trainer.run();  // nothing left to do
  EXPECT_EQ(metrics_of(temporary / "run").size(), 4u);
}

TEST(Trainer, PreviewsAreMadeShownAndMadeUp) {
  const testing::TemporaryFolder temporary;
  std::vector<int64_t> made;
  const fs::path* preview_folder = nullptr;
  TrainerOptions options = fake_options();
  options.preview.every = 2;
  const Preview preview = [&](int64_t step, const adapter::AdapterSet& adapters) -> std::vector<fs::path> {
    EXPECT_EQ(adapters.size(), 1u);
    made.push_back(step);
    if (preview_folder != nullptr) fs::create_directories(*preview_folder / checkpoint_name(step));
    if (made.size() == 2) throw Killed();
    return {testing::golden("train/two_pixels.png")};
  };
  const fs::path previews = temporary / "run" / "previews";
  preview_folder = &previews;
  options.train.checkpoint_every = 3;
  // The preview of step 4 fails, which saves step 4 all the same.
  EXPECT_THROW(FakeRun(temporary / "run", options, false, unchanged(), preview).trainer.run(), Killed);
  EXPECT_EQ(made, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(list_checkpoints(temporary / "run" / "checkpoints").rbegin()->first, 4);
  // Without its folder the resumed run makes it up.
  fs::remove_all(previews / checkpoint_name(4));
  FakeRun resumed(temporary / "run", options, true, unchanged(), preview);
  resumed.trainer.run();
  EXPECT_EQ(made, (std::vector<int64_t>{2, 4, 4, 6}));
  std::string events;
  for (const auto& entry : fs::directory_iterator(temporary / "run"))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) events += bytes_of(entry.path());
  size_t images = 0;
  for (size_t at = events.find("preview/two_pixels"); at != std::string::npos;
       at = events.find("preview/two_pixels", at + 1)) {
    ++images;
  }
  EXPECT_EQ(images, 3u);  // steps 2, 4 and 6
}

TEST(Trainer, FullDiskLeavesTheRunUsable) {
  const testing::TemporaryFolder temporary;
  TrainerOptions options = fake_options(4);
  FakeRun(temporary / "whole", options).trainer.run();
  {
    FakeRun run(temporary / "run", options, false, killed_at(3));
    EXPECT_THROW(run.trainer.run(), Killed);
  }
  {
    FakeRun run(temporary / "run", options, true);
    const FullDisk full(static_cast<rlim_t>(fs::file_size(run.folder.metrics())) + 40);  // room for part of a line
    EXPECT_ERROR(run.trainer.run(), Error, "metrics.jsonl", "writing failed", "--resume");
  }
  FakeRun(temporary / "run", options, true).trainer.run();
  expect_same_run(temporary / "run", temporary / "whole");
}

}  // namespace jointtuner::train
