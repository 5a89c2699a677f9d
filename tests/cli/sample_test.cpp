// The arguments of sample, decode and check; what sampling itself does is tested in tests/sample.
#include <sstream>

#include "command_line.h"
#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/sample/latents_file.h"

namespace jointtuner::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class Sample : public ::testing::TestWithParam<testing::Family> {
 protected:
  static const SmallRun& trained() { return small_run(GetParam()); }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  /// Samples the small run's latents only.
  std::vector<std::string> words(std::vector<std::string> more) const {
    more.insert(more.begin(), {"sample", "--run", trained().folder(), "--latents-only", "--log-level", "error"});
    return more;
  }
  /// File names printed, without folder and ending.
  static std::vector<std::string> names(const std::string& printed) {
    std::vector<std::string> found;
    std::istringstream lines(printed);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_TRUE(fs::exists(line)) << line;
      const std::string name = fs::path(line).filename();
      found.push_back(name.substr(0, name.find('.')));
    }
    return found;
  }
  static std::vector<json> list(const fs::path& folder) {
    std::vector<json> rows;
    std::istringstream lines(read_file(folder / "samples.jsonl"));
    for (std::string line; std::getline(lines, line);) rows.push_back(json::parse(line));
    return rows;
  }
  testing::TemporaryFolder folder_;
};
FOR_ALL_FAMILIES(Sample);

using Names = std::vector<std::string>;

TEST_P(Sample, TakesPromptsAndSeedsFromTheRunUnlessGiven) {
  EXPECT_EQ(names(expect_done(words({"--output", at("a")}))), (Names{"000_a_cat_s7"}));
  EXPECT_EQ(list(at("a")).at(0)["frames"], GetParam().frames);  // the run's data
  EXPECT_EQ(list(at("a")).at(0)["steps"], 2);                   // the run's sample section
  std::ofstream(at("prompts.txt")) << "# two prompts\n\na dog\n  a cat \r\n";
  EXPECT_EQ(names(expect_done(words({"--output", at("b"), "--prompts", at("prompts.txt"), "--count", "2"}))),
            (Names{"000_a_dog_s7", "001_a_dog_s8", "002_a_cat_s7", "003_a_cat_s8"}));
  EXPECT_EQ(names(expect_done(words({"--output", at("c"), "--prompt", "a fish", "--seed", "1", "--seed", "3", "--steps",
                                     "1", "--guidance", "1", "--frames", "1"}))),
            (Names{"000_a_fish_s1", "001_a_fish_s3"}));
  EXPECT_EQ(list(at("c")).at(0)["steps"], 1);
  EXPECT_EQ(list(at("c")).at(0)["frames"], 1);
}

TEST_P(Sample, WrongPromptsAndSeeds) {
  expect_refused(2, words({"--seed", "1", "--seed", "1"}), {"sample.seeds", "1 occurs twice"});
  expect_refused(2, words({"--seed", "1", "--seed", "2", "--count", "2"}), {"--count 2", "one seed"});
  std::ofstream(at("none.txt")) << "# nothing\n";
  expect_refused(2, words({"--prompts", at("none.txt")}), {"none.txt", "a prompt a line"});
  expect_refused(2, words({"--prompt", " "}), {"prompt 1 of 1 is empty"});
  expect_refused(2, words({"--steps", "-1"}), {"sample.steps"});
  expect_refused(2, words({"--sampler", "dpmp_2m"}), {"sample.sampler", "dpmpp_2m"});
  const Outcome broken = command(words({"--prompt", "\xFF\xFE", "--output", at("x")}));
  EXPECT_NE(broken.code, 0);
  EXPECT_THAT(broken.err, HasSubstr("UTF-8"));
  EXPECT_THAT(broken.err, ::testing::Not(HasSubstr("json.exception")));
}

TEST_P(Sample, CheckpointsOfARun) {
  expect_done(words({"--output", at("all"), "--checkpoint", "all"}));
  const auto rows = list(at("all"));
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["label"], "step 1");
  EXPECT_EQ(rows[1]["label"], "step 2");
  EXPECT_NE(rows[0]["adapter"], rows[1]["adapter"]);
  expect_done(words({"--output", at("one"), "--checkpoint", "1"}));
  EXPECT_EQ(list(at("one")).at(0)["adapter"], rows[0]["adapter"]);
  expect_done(words({"--output", at("last"), "--checkpoint", "last"}));
  EXPECT_EQ(list(at("last")).at(0)["adapter"], rows[1]["adapter"]);
  expect_refused(2, words({"--checkpoint", "3"}), {"--checkpoint 3", "steps 1, 2"});
  expect_refused(2, words({"--checkpoint", "first"}), {"--checkpoint first", "all, last or a step"});
  expect_refused(2, words({"--checkpoint", "1", "--adapter", trained().adapter()}),
                 {"--checkpoint", "without --adapter"});
}

TEST_P(Sample, AdaptersByName) {
  fs::copy(trained().adapter(), at("corgi.safetensors"));
  expect_done(
      words({"--output", at("two"), "--adapter", at("corgi.safetensors"), "--adapter", trained().checkpoint(2)}));
  const auto rows = list(at("two"));
  EXPECT_EQ(rows.at(0)["label"], "corgi step 2");  // the steps do not tell them apart
  EXPECT_EQ(rows.at(1)["label"], "run step 2");
  expect_refused(2, words({"--adapter", at("absent")}), {"absent", "no such adapter"});
  expect_refused(2, words({"--adapter", folder_.path().string()}), {"adapter.safetensors", "found none"});
  expect_refused(2, words({"--adapter", testing::golden("adapter/published_list.pt").string()}),
                 {"jointtuner convert"});
}

/// An adapter file with ten of the sites names the first that it lacks.
TEST_P(Sample, AnAdapterOfTenSitesIsRefused) {
  const adapter::AdapterFile file = adapter::load_adapter(trained().adapter());
  std::vector<adapter::Site> ten;
  for (size_t i = 0; i < 33 && ten.size() < 10; ++i) {
    const std::string& key = file.tensors.at(i).first;
    if (!key.ends_with(".lora_down")) continue;
    const std::string site = key.substr(0, key.size() - std::string(".lora_down").size());
    for (const auto& [name, tensor] : file.tensors)
      if (name == site + ".lora_up") ten.push_back({site, "", file.tensors[i].second.size(1), tensor.size(0)});
  }
  ASSERT_EQ(ten.size(), 10U);
  adapter::save_adapter(at("ten.safetensors"), adapter::AdapterSet(ten, 2, true, at::kCPU), file.metadata);
  std::string eleventh;
  for (size_t i = 30; eleventh.empty(); ++i) {
    const std::string& key = file.tensors.at(i).first;
    if (key.ends_with(".lora_down") && key.find(ten.back().path) == std::string::npos)
      eleventh = key.substr(0, key.rfind('.'));
  }
  expect_refused(1, words({"--adapter", at("ten.safetensors"), "--output", at("x")}), {"ten.safetensors", eleventh});
}

TEST_P(Sample, NewFoldersAreNumbered) {
  for (const char* number : {"001", "002"}) {
    const std::string printed = expect_done(words({"--steps", "1", "--guidance", "1"}));
    EXPECT_THAT(printed, HasSubstr(trained().folder() + "/samples/" + number + "/000_a_cat_s7.latents.safetensors"));
  }
  fs::remove_all(trained().folder() + "/samples");
}

TEST_P(Sample, WithoutAnAdapterTheFrozenBackbone) {
  expect_done({"sample", "--backbone", trained().bundle(), "--prompt", "a cat", "--steps", "1", "--frames", "1",
               "--height", "32", "--width", "32", "--output", at("frozen"), "--device", "cpu", "--log-level", "error"});
  EXPECT_EQ(list(at("frozen")).at(0)["label"], "frozen");
  EXPECT_TRUE(fs::exists(at("frozen/sheet.png")));
  EXPECT_TRUE(fs::exists(at("frozen/000_a_cat_s0.mp4")));
}

TEST_P(Sample, DecodeNamesItsOutputAndFindsItsBackbone) {
  const auto made = names(expect_done(words({"--output", at("s"), "--seed", "1", "--seed", "2"})));
  const std::string first = at("s/" + made.at(0) + ".latents.safetensors"),
                    second = at("s/" + made.at(1) + ".latents.safetensors");
  EXPECT_EQ(expect_done({"decode", "--latents", first, "--latents", second}),
            at("s/" + made[0] + ".mp4") + "\n" + at("s/" + made[1] + ".mp4") + "\n");
  EXPECT_EQ(expect_done({"decode", "--latents", first, "--output", at("frames")}), at("frames") + "\n");
  EXPECT_TRUE(fs::exists(at("frames/0002.png")));
  expect_refused(2, {"decode", "--latents", first, "--latents", second, "--output", at("x.mp4")}, {"--output", "one"});
  expect_refused(2, {"decode", "--latents", at("absent"), "--output", at("x.avi")}, {"x.avi", ".mp4", ".gif"});
  expect_refused(1, {"decode", "--latents", at("absent")}, {"absent"});
}

TEST_P(Sample, CheckListsEverythingThatIsWrong) {
  EXPECT_THAT(expect_done({"check", "--config", trained().config_path()}), HasSubstr("no problems found"));
  const Outcome outcome = command({"check", "--config", trained().config_path(), "--set", "data.frames=401", "--set",
                                   "adapter.rank=99", "--set", "sample.prompts=[\" \"]"});
  EXPECT_EQ(outcome.code, 1);
  for (const char* part : {"dog.mp4", "rank", "prompt 1 of 1 is empty"})
    EXPECT_THAT(outcome.out.substr(outcome.out.find("problems:")), HasSubstr(part));
  EXPECT_THAT(outcome.err, HasSubstr("problems in " + trained().config_path()));
}

TEST_P(Sample, ATrainedRunHasAReportWithItsFacts) {
  const std::string html = read_file(trained().folder() + "/report.html");
  const json manifest = json::parse(read_file(fs::path(trained().bundle()) / "bundle.json"));
  const std::string name = manifest["source"]["name"], group = manifest["denoiser"]["adapter_rules"].back()["group"];
  for (const std::string& part : {std::string("cat.png"), std::string("a dog"), name, group, std::string("2 of 2")})
    EXPECT_THAT(html, HasSubstr(part));
}

}  // namespace
}  // namespace jointtuner::cli
