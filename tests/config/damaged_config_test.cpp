// Damaged configs and arbitrary --set texts: each is either read or refused with a UsageError.
#include <gtest/gtest.h>

#include <random>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/config/run_config.h"

namespace jointtuner::config {
namespace {

constexpr int kRounds = 1000;

/// One to three damages: another byte, a cut end, a removed or repeated stretch, a sign of JSON where none should be.
std::string damaged(std::string text, std::mt19937_64& random) {
  const std::string signs = "{}[]\",:0-e.\\u";
  for (size_t left = 1 + random() % 3; left > 0 && !text.empty(); --left) {
    const size_t at = random() % text.size();
    switch (random() % 5) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.resize(at);
        break;
      case 2:
        text.erase(at, random() % 9);
        break;
      case 3:
        text.insert(at, text.substr(random() % text.size(), random() % 20));
        break;
      default:
        text[at] = signs[random() % signs.size()];
    }
  }
  return text;
}

bool refused(const std::string& text, const std::vector<std::string>& overrides) {
  try {
    (void)parse_run_config(text, "run.json", overrides);
    return false;
  } catch (const UsageError& error) {
    return true;
  }
}

TEST(DamagedConfig, IsReadOrRefused) {
  const std::string good = read_file(JOINTTUNER_SOURCE_DIR "/configs/tiny_cpu.json");
  std::mt19937_64 random(7);
  int count = 0;
  for (int round = 0; round < kRounds; ++round) count += refused(damaged(good, random), {"train.steps=5"}) ? 1 : 0;
  EXPECT_GT(count, kRounds / 2);
}

TEST(DamagedConfig, OverridesAreReadOrRefused) {
  const std::string alphabet = "abdtrain.steps=0123456789[]{}\",:-e_\\\xff";
  std::mt19937_64 random(8);
  int count = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::string text = random() % 2 == 0 ? "data.videos." : "";
    for (size_t left = random() % 25; left > 0; --left) text += alphabet[random() % alphabet.size()];
    count += refused("{}", {text}) ? 1 : 0;
  }
  EXPECT_GT(count, kRounds / 2);
}

}  // namespace
}  // namespace jointtuner::config
