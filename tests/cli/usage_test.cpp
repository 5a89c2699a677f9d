// What every command has in common: help, exit codes, suggestions.
#include "command_line.h"

namespace jointtuner::cli {
namespace {

using ::testing::HasSubstr;

/// As `jointtuner --help` lists them: a line each, two spaces and the name, below a heading.
std::vector<std::string> commands() {
  std::istringstream lines(expect_done({"--help"}));
  std::vector<std::string> names;
  bool listed = false;
  for (std::string line; std::getline(lines, line);)
    if (line == "Subcommands:" || line == "SUBCOMMANDS:")
      listed = true;
    else if (!line.starts_with("  "))
      listed = false;
    else if (listed && line[2] != ' ')
      names.push_back(line.substr(2, line.find(' ', 2) - 2));
  EXPECT_GT(names.size(), 5U) << "--help lists its commands in another way";
  return names;
}

TEST(Usage, HelpOfEveryCommandHasExamplesThatNameIt) {
  const std::string all = expect_done({"--help"});
  EXPECT_THAT(all, HasSubstr("Examples:"));
  EXPECT_THAT(all, HasSubstr("Exit codes:"));
  for (const std::string& name : commands()) {
    const std::string help = expect_done({name, "--help"});
    EXPECT_THAT(help, HasSubstr("Examples:\n  jointtuner " + name + " "));
    for (const char* option : {"--device", "--threads", "--log-level"}) EXPECT_THAT(help, HasSubstr(option)) << name;
  }
}

TEST(Usage, EveryOptionInTheExamplesExists) {
  for (const std::string& name : commands()) {
    const std::string help = expect_done({name, "--help"});
    const size_t examples = help.find("Examples:");
    ASSERT_NE(examples, std::string::npos);
    for (size_t at = help.find(" --", examples); at != std::string::npos; at = help.find(" --", at + 1)) {
      const std::string option = help.substr(at + 1, help.find_first_of(" \n=", at + 1) - at - 1);
      EXPECT_LT(help.find("\n  " + option), examples) << name << " has no " << option;
    }
  }
}

TEST(Usage, Version) { EXPECT_THAT(expect_done({"--version"}), ::testing::MatchesRegex("jointtuner [0-9.]+\n")); }

TEST(Usage, WrongUsageIsExitCode2WithTheNearestName) {
  expect_refused(2, {}, {"subcommand", "see jointtuner --help"});
  expect_refused(2, {"trian"}, {"unknown command trian", "did you mean train?", "see jointtuner --help"});
  expect_refused(2, {"zzzzzz"}, {"unknown command zzzzzz; see jointtuner --help"});
  expect_refused(2, {"--halp"}, {"unknown option --halp", "did you mean --help?"});
  for (const std::string& name : commands())
    expect_refused(2, {name, "--threds"},
                   {"unknown option --threds; did you mean --threads?", "see jointtuner " + name + " --help"});
  expect_refused(2, {"sample", "--guidence=3"}, {"unknown option --guidence; did you mean --guidance?"});
}

TEST(Usage, WhatIsMissingOrWrongIsNamed) {
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

TEST(Usage, TextsThatAreNotUtf8AreNamed) {
  expect_refused(2, {"sample", "--backbone", "b", "--prompt", "x", "--negative-prompt", "\xFF"},
                 {"--negative-prompt", "UTF-8"});
  expect_refused(2, {"sample", "--backbone", "\xFF", "--prompt", "x"}, {"--backbone", "UTF-8"});
  expect_refused(2, {"train", "--config", "x", "--device", "\xFF"}, {"--device", "UTF-8"});
}

TEST(Usage, DeviceThatIsNotThere) {
  expect_refused(2, {"train", "--config", small_run().config_path(), "--device", "cuda:63"}, {"cuda:63"});
  expect_refused(2, {"train", "--config", small_run().config_path(), "--device", "abacus"}, {"abacus"});
}

}  // namespace
}  // namespace jointtuner::cli
