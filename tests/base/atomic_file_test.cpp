#include "jointtuner/base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "jointtuner/base/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(AtomicFile, ReplacesTheContentsAndLeavesNothingElse) {
  const TemporaryFolder folder;
  write_atomically(folder / "a.txt", "one");
  write_atomically(folder / "a.txt", std::string_view("two\0three", 9));
  EXPECT_EQ(read_file(folder / "a.txt"), std::string("two\0three", 9));
  write_atomically(folder / "empty", "");
  EXPECT_EQ(read_file(folder / "empty"), "");
  EXPECT_EQ(entries(folder.path()), 2U);
}

TEST(AtomicFile, AFailedWriterKeepsTheOldFile) {
  const TemporaryFolder folder;
  write_atomically(folder / "a.txt", "old");
  const auto half = [](const fs::path& temporary) {
    EXPECT_EQ(temporary.extension(), ".txt");
    std::ofstream(temporary) << "half";
    throw Error("writer broke");
  };
  EXPECT_ERROR(write_atomically(folder / "a.txt", half), Error, "a.txt", "writer broke");
  EXPECT_EQ(read_file(folder / "a.txt"), "old");
  EXPECT_EQ(entries(folder.path()), 1U);
}

/// The file size limit stands in for a full disk: write(2) fails half-way with an errno in both cases.
TEST(AtomicFile, AFullDiskIsANamedErrorAndKeepsTheOldFile) {
  const TemporaryFolder folder;
  write_atomically(folder / "a.bin", "old");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_ERROR(write_atomically(folder / "a.bin", std::string(100000, 'x')), Error, "a.bin", "writing failed");
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(read_file(folder / "a.bin"), "old");
  EXPECT_EQ(entries(folder.path()), 1U);
}

TEST(AtomicFile, FoldersAppearWholeOrNotAtAll) {
  const TemporaryFolder folder;
  write_folder_atomically(folder / "step_1", [](const fs::path& name) { std::ofstream(name / "x") << "1"; });
  EXPECT_EQ(read_file(folder / "step_1" / "x"), "1");
  const auto fails = [](const fs::path& name) {
    std::ofstream(name / "x") << "1";
    throw Error("no space");
  };
  EXPECT_ERROR(write_folder_atomically(folder / "step_2", fails), Error, "step_2", "no space");
  EXPECT_ERROR(write_folder_atomically(folder / "step_1", fails), Error, "step_1", "exists already");
  EXPECT_EQ(entries(folder.path()), 1U);
}

TEST(AtomicFile, LeftoversOfDeadProcessesGo) {
  const TemporaryFolder folder;
  std::ofstream(folder / "a.partial-999999999.txt") << "half";
  fs::create_directory(folder / "step_1.partial-999999999");
  std::ofstream(folder / "b.partial-1.txt") << "process 1 lives";
  std::ofstream(folder / "keep.txt") << "whole";
  remove_leftovers(folder.path());
  EXPECT_EQ(entries(folder.path()), 2U);
  EXPECT_TRUE(fs::exists(folder / "b.partial-1.txt"));
}

TEST(AtomicFile, UnreadablePathsAreNamed) {
  const TemporaryFolder folder;
  EXPECT_ERROR(read_file(folder / "absent"), Error, "absent", "cannot be opened");
  EXPECT_ERROR(read_file(folder.path()), Error, "is a folder");
  EXPECT_ERROR(write_atomically(folder / "no" / "x", "1"), Error, "cannot be opened");
}

}  // namespace
}  // namespace jointtuner
