#include "jointtuner/data/cache.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <thread>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/safetensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::data {
namespace {

using testing::TemporaryFolder;

const CacheKey kKey = {{"format", "1"}, {"content", "abc"}};

NamedTensors counted(int& calls) {
  ++calls;
  return {{"mean", at::arange(6).to(at::kFloat).view({2, 3}).t()}, {"std", at::full({2}, 0.5)}};
}

TEST(TensorCache, MakesOnceThenReads) {
  const TemporaryFolder folder;
  const TensorCache cache(folder / "deep" / "cache");
  int calls = 0;
  EXPECT_FALSE(cache.has(kKey));
  const NamedTensors first = cache.get_or_make(kKey, [&] { return counted(calls); });
  EXPECT_TRUE(cache.has(kKey));
  const NamedTensors second = TensorCache(folder / "deep" / "cache").get_or_make(kKey, [&] { return counted(calls); });
  EXPECT_EQ(calls, 1);
  ASSERT_EQ(second.size(), 2U);
  EXPECT_EQ(second[0].first, "mean");
  EXPECT_TRUE(at::equal(first[0].second, second[0].second));
  EXPECT_TRUE(first[0].second.is_contiguous());
  EXPECT_TRUE(at::equal(second[1].second, at::full({2}, 0.5)));
}

TEST(TensorCache, AnyChangeOfTheKeyIsAnotherFile) {
  const TemporaryFolder folder;
  const TensorCache cache(folder.path());
  for (const CacheKey& other :
       {CacheKey{{"format", "2"}, {"content", "abc"}}, CacheKey{{"content", "abc"}, {"format", "1"}},
        CacheKey{{"format", "1"}, {"contentabc", ""}}, CacheKey{{"format", "1"}}}) {
    EXPECT_NE(cache.file_of(other), cache.file_of(kKey));
  }
  EXPECT_EQ(cache.file_of(kKey), cache.file_of(CacheKey(kKey)));
}

TEST(TensorCache, DamagedFilesAreMadeAgain) {
  const TemporaryFolder folder;
  const TensorCache cache(folder.path());
  int calls = 0;
  const auto make = [&] { return counted(calls); };
  cache.get_or_make(kKey, make);
  const std::string good = read_file(cache.file_of(kKey));
  std::string flipped = good;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  const std::string cut = good.substr(0, good.size() - 3);
  int expected_calls = 1;
  for (const std::string& bad : {flipped, cut, std::string("x"), std::string()}) {
    write_atomically(cache.file_of(kKey), bad);
    EXPECT_TRUE(at::equal(cache.get_or_make(kKey, make)[1].second, at::full({2}, 0.5)));
    EXPECT_EQ(calls, ++expected_calls);
    EXPECT_TRUE(read_file(cache.file_of(kKey)) == good);
  }
  const CacheKey other = {{"format", "1"}, {"content", "other"}};
  make_folder(cache.file_of(other).parent_path());
  write_atomically(cache.file_of(other), good);  // a file under a wrong name
  cache.get_or_make(other, make);
  EXPECT_EQ(calls, expected_calls + 1);
}

TEST(TensorCache, AFailedMakeLeavesNothing) {
  const TemporaryFolder folder;
  const TensorCache cache(folder.path());
  EXPECT_ERROR(cache.get_or_make(kKey, []() -> NamedTensors { throw Error("no such model"); }), Error, "no such model");
  EXPECT_FALSE(cache.has(kKey));
}

TEST(TensorCache, ManyAtOnceAgree) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  std::vector<NamedTensors> results(8);
  for (size_t i = 0; i < results.size(); ++i)
    threads.emplace_back([&, i] {
      const TensorCache cache(folder.path());
      results[i] = cache.get_or_make(kKey, [] { return NamedTensors{{"mean", at::ones({1000})}}; });
    });
  for (std::thread& thread : threads) thread.join();
  for (const NamedTensors& result : results) EXPECT_TRUE(at::equal(result.at(0).second, at::ones({1000})));
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path()))
    files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 1);
}

TEST(TensorCache, NamesAFolderThatCannotBeMade) {
  const TemporaryFolder folder;
  write_atomically(folder / "file", "x");
  EXPECT_ERROR(TensorCache(folder / "file" / "cache"), Error, "cache", "data.cache");
}

/// Each of these shapes the result, so each must lead to another encoding; what does not, must not.
class LatentCaches : public ::testing::Test {
 protected:
  LatentCaches() {
    options_.cache = folder_.path().string();
    options_.height = options_.width = 8;
    options_.frames = 2;
    image_.path = testing::golden("media/picture.bmp");
    image_.content_hash = "1111";
    image_.clip_starts_s = {0};
    video_.kind = Kind::video;
    video_.path = testing::golden("media/plain.mp4");
    video_.content_hash = "2222";
    video_.clip_starts_s = {0, 0.25};
  }
  int calls(const Item& item, const ItemDraw& draw, const DataOptions& options, const EncoderIdentity& encoder) {
    int made = 0;
    LatentCache(options, encoder).get_or_make(item, draw, [&](const Tensor& frames) {
      ++made;
      EXPECT_EQ(frames.sizes(), (std::vector<int64_t>{item.kind == Kind::image ? 1 : options.frames, options.height,
                                                      options.width, 3}));
      return Posterior{frames.to(at::kFloat).mean(), at::ones({1})};
    });
    return made;
  }
  int calls(const Item& item, const ItemDraw& draw = {}) { return calls(item, draw, options_, encoder_); }

  TemporaryFolder folder_;
  DataOptions options_;
  Item image_, video_;
  EncoderIdentity encoder_{"aaaa", "float32", "cpu"};
};

TEST_F(LatentCaches, KeyHoldsEverythingThatShapesTheResult) {
  EXPECT_EQ(calls(image_), 1);
  EXPECT_EQ(calls(video_), 1);
  EXPECT_EQ(calls(image_), 0);
  EXPECT_EQ(calls(video_), 0);
  EXPECT_EQ(calls(image_, {.item = 5, .flip = true, .clip = 0}), 1);
  EXPECT_EQ(calls(video_, {.item = 5, .flip = false, .clip = 1}), 1);
  EXPECT_EQ(calls(image_, {.item = 9, .flip = false, .clip = 0}), 0);  // the place in the list does not matter
  for (const auto& change : std::vector<std::function<void(DataOptions&)>>{
           [](DataOptions& o) { o.height = 16; }, [](DataOptions& o) { o.width = 16; },
           [](DataOptions& o) { o.resize = "stretch"; }}) {
    DataOptions changed = options_;
    change(changed);
    EXPECT_EQ(calls(image_, {}, changed, encoder_), 1);
    EXPECT_EQ(calls(video_, {}, changed, encoder_), 1);
  }
  for (const auto& change : std::vector<std::function<void(DataOptions&)>>{[](DataOptions& o) { o.frames = 3; },
                                                                           [](DataOptions& o) { o.fps = 4; }}) {
    DataOptions changed = options_;
    change(changed);
    EXPECT_EQ(calls(image_, {}, changed, encoder_), 0);
    EXPECT_EQ(calls(video_, {}, changed, encoder_), 1);
  }
  for (const EncoderIdentity& other :
       {EncoderIdentity{"bbbb", "float32", "cpu"}, EncoderIdentity{"aaaa", "float16", "cpu"},
        EncoderIdentity{"aaaa", "float32", "cuda"}}) {
    EXPECT_EQ(calls(image_, {}, options_, other), 1);
  }
  Item edited = image_;
  edited.content_hash = "3333";
  EXPECT_EQ(calls(edited), 1);
  Item renamed = image_;
  renamed.path = testing::golden("media/picture.webp");
  EXPECT_EQ(calls(renamed), 0);  // the name does not matter
}

TEST_F(LatentCaches, TextIsKeyedByCaptionAndEncoder) {
  int made = 0;
  const auto encode = [&](const std::string& caption) {
    ++made;
    return at::full({1, 2, 3}, static_cast<double>(caption.size()));
  };
  const TextCache cache(options_, encoder_);
  EXPECT_FALSE(cache.has("a cat"));
  EXPECT_TRUE(at::equal(cache.get_or_make("a cat", encode), at::full({1, 2, 3}, 5.0)));
  EXPECT_TRUE(at::equal(cache.get_or_make("a cat", encode), at::full({1, 2, 3}, 5.0)));
  EXPECT_TRUE(cache.has("a cat"));
  EXPECT_EQ(made, 1);
  cache.get_or_make("a cat ", encode);
  TextCache(options_, {"bbbb", "float32", "cpu"}).get_or_make("a cat", encode);
  EXPECT_EQ(made, 3);
}

TEST(CacheFolder, DefaultsToTheUsersCache) {
  DataOptions options;
  options.cache = "/x/y";
  EXPECT_EQ(cache_folder(options), "/x/y");
  options.cache = "";
  EXPECT_EQ(cache_folder(options).filename(), "jointtuner");
}

}  // namespace
}  // namespace jointtuner::data
