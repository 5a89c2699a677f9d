#include "jointtuner/base/json_lines.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "jointtuner/base/atomic_file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner {
namespace {

TEST(JsonLines, ObjectsInOrderWithoutWhatIsNone) {
  const testing::TemporaryFolder folder;
  write_atomically(folder / "a.jsonl", "{\"step\": 1}\n\n[2]\n{\"step\": 3}\n{\"step\": 4");
  const auto objects = json_lines(folder / "a.jsonl");
  ASSERT_EQ(objects.size(), 2U);
  EXPECT_EQ(objects[0]["step"], 1);
  EXPECT_EQ(objects[1]["step"], 3);
  EXPECT_ERROR(json_lines(folder / "absent.jsonl"), Error, "absent.jsonl");
}

}  // namespace
}  // namespace jointtuner
