#include "jointtuner/base/bytes.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace jointtuner {
namespace {

TEST(Bytes, ReadsAmountsWithUnits) {
  EXPECT_EQ(parse_bytes("24GiB", "x"), 25769803776);
  EXPECT_EQ(parse_bytes("24GB", "x"), 24000000000);
  EXPECT_EQ(parse_bytes("24000MiB", "x"), 25165824000);
  EXPECT_EQ(parse_bytes("24 gib", "x"), 25769803776);
  EXPECT_EQ(parse_bytes("1.5GiB", "x"), 1610612736);
  EXPECT_EQ(parse_bytes("17B", "x"), 17);
  EXPECT_EQ(parse_bytes("2kb", "x"), 2000);
  EXPECT_EQ(parse_bytes("2KiB", "x"), 2048);
  EXPECT_EQ(parse_bytes("1TB", "x"), 1000000000000);
  EXPECT_EQ(parse_bytes("1TiB", "x"), 1099511627776);
}

TEST(Bytes, RefusesWhatIsNoAmount) {
  for (const char* text :
       {"", "24", "GiB", "-1GiB", "0GiB", "24 Gigs", "24GiBs", "1e99GB", "nanGB", "24,5GB", " 24GB"}) {
    SCOPED_TRACE(text);
    EXPECT_ERROR(parse_bytes(text, "--memory"), UsageError, "--memory", "24GiB", "24GB", "24000MiB",
                 std::string("\"") + text + "\"");
  }
}

TEST(Bytes, WritesTwoDecimals) {
  EXPECT_EQ(bytes_text(25769803776), "24.00 GiB");
  EXPECT_EQ(bytes_text(1610612736), "1.50 GiB");
  EXPECT_EQ(bytes_text(1073741823), "1024.00 MiB");
  EXPECT_EQ(bytes_text(1536), "1.50 KiB");
  EXPECT_EQ(bytes_text(0), "0.00 KiB");
}

}  // namespace
}  // namespace jointtuner
