// Every reader of adapter files, fed with damaged ones: each input is either read or refused with an Error.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "jointtuner/adapter/adapter_file.h"
#include "jointtuner/adapter/published_list.h"
#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "list_tensors.h"
#include "src/adapter/pickle_list.h"
#include "support/temporary_folder.h"

namespace jointtuner::adapter {
namespace {

constexpr int kRounds = 1000;

/// One to four damages: a changed byte, a flipped bit, a cut end, a removed, repeated or overwritten stretch.
std::string damaged(std::string bytes, std::mt19937_64& random) {
  const auto below = [&](size_t limit) { return static_cast<size_t>(random() % std::max<size_t>(limit, 1)); };
  for (size_t left = 1 + below(4); left > 0 && !bytes.empty(); --left) {
    const size_t at = below(bytes.size());
    const size_t length = std::min(bytes.size() - at, 1 + below(16));
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ 1U << below(8));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.erase(at, length);
        break;
      case 4:
        bytes.insert(at, bytes.substr(at, length));
        break;
      default:
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), length, below(2) == 0 ? '\xff' : '\0');
    }
  }
  return bytes;
}

/// Reads kRounds damaged versions of `good`; anything but success or an Error fails the test. Returns how many were
/// refused.
int refused(const std::string& good, const std::function<void(const std::string& bytes)>& read) {
  std::mt19937_64 random(20240229);
  int errors = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string bytes = damaged(good, random);
    try {
      read(bytes);
    } catch (const Error& error) {
      EXPECT_GT(std::string(error.what()).size(), 20u) << "round " << round;
      ++errors;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "round " << round << ": not an Error: " << error.what();
    }
  }
  return errors;
}

void write_plainly(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);  // writing over a file would make the system flush it
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "wb"), &std::fclose);
  ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file.get()), bytes.size());
}

TEST(DamagedFiles, Pickles) {
  const std::string good =
      pickled_parameter_list({{"0", at::kFloat, 6, 0, {2, 3}, {3, 1}}, {"1", at::kHalf, 20, 4, {3, 4}, {5, 1}}});
  EXPECT_GT(refused(good, [](const std::string& bytes) { (void)read_pickled_list(bytes, "list.pt"); }), kRounds / 2);
}

TEST(DamagedFiles, PublishedLists) {
  const testing::TemporaryFolder folder;
  for (const char* name : {"published_list.pt", "published_protocol4.pt"}) {
    const std::string good = read_file(testing::golden("adapter") / name);
    const int errors = refused(good, [&](const std::string& bytes) {
      write_plainly(folder / "list.pt", bytes);
      const auto tensors = load_published_list(folder / "list.pt");
      EXPECT_EQ(tensors.size(), 6u);
    });
    EXPECT_GT(errors, kRounds / 3);
  }
}

TEST(DamagedFiles, AdapterFiles) {
  const testing::TemporaryFolder folder;
  AdapterMetadata metadata;
  metadata.rank = kListRank;
  save_adapter(folder / "good.safetensors", list_adapters(), metadata);
  const std::string good = read_file(folder / "good.safetensors");
  const int errors = refused(good, [&](const std::string& bytes) {
    write_plainly(folder / "a.safetensors", bytes);
    (void)match_adapter(load_adapter(folder / "a.safetensors"), list_sites(), "", at::kCPU);
  });
  EXPECT_GT(errors, kRounds / 2);
}

}  // namespace
}  // namespace jointtuner::adapter
