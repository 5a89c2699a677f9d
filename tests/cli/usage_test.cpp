// What every command has in common: help, exit codes, suggestions.
#include "command_line.h"

namespace jointtuner::cli {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kCommands = {"check", "train", "sample", "decode", "inspect", "convert", "doctor"};

TEST(Usage, help_of_every_command_has_examples_that_name_it) {
  const std::string all = expect_done({"--help"});
  EXPECT_THAT(all, HasSubstr("Examples:"));
  EXPECT_THAT(all, HasSubstr("Exit codes:"));
  for (const std::string& name : kCommands) {
    EXPECT_THAT(all, HasSubstr("\n  " + name));
    const std::string help = expect_done({name, "--help"});
    EXPECT_THAT(help, HasSubstr("Examples:\n  jointtuner " + name + " "));
    for (const char* option : {"--device", "--threads", "--log-level"}) EXPECT_THAT(help, HasSubstr(option)) << name;
  }
}

TEST(Usage, every_option_in_the_examples_exists) {
  for (const std::string& name : kCommands) {
    const std::string help = expect_done({name, "--help"});
    const size_t examples = help.find("Examples:");
    ASSERT_NE(examples, std::string::npos);
    for (size_t at = help.find(" --", examples); at != std::string::npos; at = help.find(" --", at + 1)) {
      const std::string option = help.substr(at + 1, help.find_first_of(" \n=", at + 1) - at - 1);
      EXPECT_LT(help.find("\n  " + option), examples) << name << " has no " << option;
    }
  }
}

TEST(Usage, version) { EXPECT_THAT(expect_done({"--version"}), ::testing::MatchesRegex("jointtuner [0-9.]+\n")); }

TEST(Usage, wrong_usage_is_exit_code_2_with_the_nearest_name) {
  expect_refused(2, {}, {"subcommand", "see jointtuner --help"});
  expect_refused(2, {"trian"}, {"unknown command trian", "did you mean train?", "see jointtuner --help"});
  expect_refused(2, {"zzzzzz"}, {"unknown command zzzzzz; see jointtuner --help"});
  expect_refused(2, {"--halp"}, {"unknown option --halp", "did you mean --help?"});
  const std::pair<const char*, const char*> misspelled[] = {
      {"check", "--confg"}, {"train", "--resum"},    {"sample", "--promt"}, {"decode", "--latent-s"},
      {"inspect", "--jsn"}, {"convert", "--ungatd"}, {"doctor", "--quik"}};
  for (const auto& [name, option] : misspelled) {
    const std::string help = std::string("see jointtuner ") + name + " --help";
    expect_refused(2, {name, option}, {std::string("unknown option ") + option, "did you mean --", help});
  }
  expect_refused(2, {"sample", "--guidence=3"}, {"unknown option --guidence; did you mean --guidance?"});
}

TEST(Usage, what_is_missing_or_wrong_is_named) {
  for (const char* name : {"check", "train"}) expect_refused(2, {name}, {"--config is required", "--help"});
  expect_refused(2, {"decode"}, {"--latents is required"});
  expect_refused(2, {"inspect"}, {"PATH is required"});
  expect_refused(2, {"convert", "x.pt"}, {"OUT is required"});
  expect_refused(2, {"sample"}, {"--run runs/NAME", "--backbone BUNDLE"});
  expect_refused(2, {"sample", "--prompt"}, {"--prompt"});
  expect_refused(2, {"sample", "--seed", "-1"}, {"--seed"});
  expect_refused(2, {"inspect", "x", "--log-level", "loud"}, {"--log-level", "loud"});
  expect_refused(2, {"inspect", "x", "--threads", "0"}, {"--threads"});
}

TEST(Usage, texts_that_are_not_utf8_are_named) {
  expect_refused(2, {"sample", "--backbone", "b", "--prompt", "x", "--negative-prompt", "\xFF"},
                 {"--negative-prompt", "UTF-8"});
  expect_refused(2, {"sample", "--backbone", "\xFF", "--prompt", "x"}, {"--backbone", "UTF-8"});
  expect_refused(2, {"train", "--config", "x", "--device", "\xFF"}, {"--device", "UTF-8"});
}

TEST(Usage, device_that_is_not_there) {
  expect_refused(2, {"train", "--config", small_run().config_path(), "--device", "cuda:63"}, {"cuda:63"});
  expect_refused(2, {"train", "--config", small_run().config_path(), "--device", "abacus"}, {"abacus"});
}

}  // namespace
}  // namespace jointtuner::cli
