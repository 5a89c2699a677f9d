#include "jointtuner/media/library_versions.h"

#include <gtest/gtest.h>

namespace jointtuner::media {
namespace {

TEST(LibraryVersions, LoadedOnesHaveTheMajorOfTheHeaders) {
  const auto versions = library_versions();
  ASSERT_EQ(versions.size(), 5U);
  for (const LibraryVersion& version : versions) EXPECT_TRUE(same_major(version)) << version.name;
}

TEST(LibraryVersions, OnlyTheFirstNumberMustAgree) {
  EXPECT_TRUE(same_major({"x", "59.27.100", "59.1.2"}));
  EXPECT_FALSE(same_major({"x", "59.27.100", "60.27.100"}));
  EXPECT_FALSE(same_major({"x", "5.1.2", "59.1.2"}));
  EXPECT_FALSE(same_major({"x", "5", ""}));
}

}  // namespace
}  // namespace jointtuner::media
