#include "src/train/event_file.h"

#include <gtest/gtest.h>

#include "fake_run.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::train {

using jointtuner::testing::golden;

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // the check value of CRC-32C
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
}

/// The bytes that the tensorboard package writes for the same events (tests/goldens/make/train_events.py).
TEST(EventFile, BytesEqualTensorBoards) {
  const std::string png = bytes_of(golden("train/two_pixels.png"));
  const std::string bytes = tf_record(version_event(1700000000.25)) +
                            tf_record(session_start_event(1700000000.5, 301)) +
                            tf_record(scalars_event(1700000001.0, 301, {{"loss/total", 0.3}, {"grösse", -2.0}})) +
                            tf_record(image_event(1700000002.0, 302, "preview/sheet", png));
  EXPECT_EQ(bytes, bytes_of(golden("train/events.tfevents")));
}

TEST(EventFile, OpensWithVersionAndSessionStart) {
  const testing::TemporaryFolder folder;
  EventFile file(folder.path(), 7);
  EXPECT_TRUE(file.path().filename().string().starts_with("events.out.tfevents."));
  const size_t opened = bytes_of(file.path()).size();
  EXPECT_EQ(opened, tf_record(version_event(1)).size() + tf_record(session_start_event(1, 7)).size());
  file.add_scalars(7, {{"loss/total", 1.0}});
  EXPECT_EQ(bytes_of(file.path()).size(), opened + tf_record(scalars_event(1, 7, {{"loss/total", 1.0}})).size());
  file.add_image(7, "preview", golden("train/two_pixels.png"));
  EXPECT_GT(bytes_of(file.path()).size(), opened + 100);
}

TEST(EventFile, TwoInOneSecondHaveTwoNames) {
  const testing::TemporaryFolder folder;
  const EventFile first(folder.path(), 1), second(folder.path(), 1);
  EXPECT_NE(first.path(), second.path());
}

TEST(EventFile, RefusesWhatIsNoPng) { EXPECT_ERROR(image_event(0, 1, "preview", "GIF89a"), Error, "preview", "PNG"); }

}  // namespace jointtuner::train
