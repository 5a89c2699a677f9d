// Commands run in this process, with what they print; and one small trained run for the tests to look at.
#pragma once
#include <ATen/Functions.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "jointtuner/base/generator.h"
#include "jointtuner/cli/program.h"
#include "jointtuner/media/image.h"
#include "jointtuner/media/video_writer.h"
#include "support/expect_error.h"
#include "support/families.h"
#include "support/nano_bundle.h"

namespace jointtuner::cli {

namespace fs = std::filesystem;

struct Outcome {
  int code = 0;
  std::string out, err;
};

inline Outcome command(std::vector<std::string> words) {
  words.insert(words.begin(), "jointtuner");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.code = run(static_cast<int>(arguments.size()), arguments.data());
  outcome.out = ::testing::internal::GetCapturedStdout();
  outcome.err = ::testing::internal::GetCapturedStderr();
  return outcome;
}

/// Expects the exit code, and on stderr one message that holds every part and no trace of where it was thrown.
inline void expect_refused(int code, const std::vector<std::string>& words, const std::vector<std::string>& parts) {
  const Outcome outcome = command(words);
  EXPECT_EQ(outcome.code, code) << fmt::format("{}", fmt::join(words, " ")) << "\n" << outcome.err;
  testing::expect_parts(outcome.err, parts);
  for (const char* trace : {"Exception raised", "frame #", ".cpp:", "json.exception"})
    EXPECT_THAT(outcome.err, ::testing::Not(::testing::HasSubstr(trace)));
}

inline std::string expect_done(const std::vector<std::string>& words) {
  const Outcome outcome = command(words);
  EXPECT_EQ(outcome.code, 0) << fmt::format("{}", fmt::join(words, " ")) << "\n" << outcome.err;
  return outcome.out;
}

/// RUNS/run: two steps on one picture and one clip, a checkpoint at each.
class SmallRun {
 public:
  explicit SmallRun(const testing::Family& family) : family_(family) {
    const at::Tensor frames = normal_draw({12, 32, 48, 3}, generator(1, 0, "frames")).mul(50).add(128);
    const at::Tensor bytes = frames.clamp(0, 255).to(at::kByte);
    media::write_png(folder_ / "cat.png", bytes.select(0, 0).contiguous());
    media::write_mp4(folder_ / "dog.mp4", bytes, 8);
    const nlohmann::json config{
        {"run", {{"name", "run"}, {"output", folder_.path().string()}, {"device", "cpu"}, {"threads", 1}}},
        {"backbone", {{"bundle", bundle()}}},
        {"data",
         {{"images", {{{"path", (folder_ / "cat.png").string()}, {"caption", "a cat"}}}},
          {"videos", {{{"path", (folder_ / "dog.mp4").string()}, {"caption", "a dog"}}}},
          {"height", family.height},
          {"width", family.width},
          {"frames", family.frames},
          {"fps", 8},
          {"cache", (folder_ / "cache").string()}}},
        {"adapter", {{"rank", 2}}},
        {"train", {{"steps", 2}, {"checkpoint_every", 1}, {"learning_rate", 0.01}}},
        {"sample", {{"prompts", {"a cat"}}, {"seeds", {7}}, {"steps", 2}, {"guidance", 3}}}};
    std::ofstream(config_path()) << config.dump(1);
    expect_done({"train", "--config", config_path(), "--log-level", "error"});
  }

  std::string bundle() const { return family_.bundle.string(); }
  std::string config_path() const { return (folder_ / "config.json").string(); }
  std::string folder() const { return (folder_ / "run").string(); }
  std::string adapter() const { return folder() + "/adapter.safetensors"; }
  std::string checkpoint(int step) const { return fmt::format("{}/checkpoints/step_{:08}", folder(), step); }
  std::string cache() const { return (folder_ / "cache").string(); }

 private:
  testing::Family family_;
  testing::TemporaryFolder folder_;
};

/// Trained once for each family.
inline const SmallRun& small_run(const testing::Family& family = testing::families().front()) {
  static std::map<std::string, SmallRun> runs;
  return runs.try_emplace(family.name, family).first->second;
}

}  // namespace jointtuner::cli
