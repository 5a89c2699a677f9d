#include "jointtuner/base/gpus.h"

#include <gtest/gtest.h>

namespace jointtuner {
namespace {

TEST(Gpus, RunMachineCodeOfTheirMajorAndPtxOfAnyOlder) {
  constexpr const char* kBuilt = "80-real,86-real,90-real,120-virtual";
  EXPECT_EQ(code_for_capability(kBuilt, 80), "sm_80");
  EXPECT_EQ(code_for_capability(kBuilt, 86), "sm_86");
  EXPECT_EQ(code_for_capability(kBuilt, 89), "sm_86");  // machine code serves later minors
  EXPECT_EQ(code_for_capability(kBuilt, 90), "sm_90");
  EXPECT_EQ(code_for_capability(kBuilt, 100), "");  // another major, and PTX of a newer one
  EXPECT_EQ(code_for_capability(kBuilt, 120), "compute_120");
  EXPECT_EQ(code_for_capability(kBuilt, 121), "compute_120");
  EXPECT_EQ(code_for_capability(kBuilt, 75), "");
}

TEST(Gpus, ArchitecturesWithoutASuffixAreBothAndLettersServeOneCapability) {
  EXPECT_EQ(code_for_capability("80", 86), "sm_80");
  EXPECT_EQ(code_for_capability("80", 90), "compute_80");
  EXPECT_EQ(code_for_capability("80,90a", 90), "sm_90");
  EXPECT_EQ(code_for_capability("80,90a", 100), "compute_80");
  EXPECT_EQ(code_for_capability("", 80), "");
}

}  // namespace
}  // namespace jointtuner
