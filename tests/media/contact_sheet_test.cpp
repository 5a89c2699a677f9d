#include "jointtuner/media/contact_sheet.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace jointtuner::media {
namespace {

/// Where in the page pixels have exactly this colour: top, left, bottom, right, or empty.
std::vector<int64_t> extent(const Tensor& page, std::initializer_list<int64_t> colour) {
  const Tensor hit = (page == at::tensor(at::IntArrayRef(colour), at::kLong)).all(2).nonzero();
  if (hit.size(0) == 0) return {};
  const Tensor low = std::get<0>(hit.min(0)), high = std::get<0>(hit.max(0));
  return {low[0].item<int64_t>(), low[1].item<int64_t>(), high[0].item<int64_t>(), high[1].item<int64_t>()};
}

Tensor flat(std::initializer_list<int64_t> colour, int64_t height, int64_t width) {
  return at::tensor(at::IntArrayRef(colour), at::kByte).expand({height, width, 3});
}

TEST(ContactSheet, PutsCellsInTheirRowsAndColumns) {
  Sheet sheet{.column_labels = {"seed 0", "seed 1"}, .row_labels = {"a cat runs", "a dog sleeps"}, .cells = {}};
  sheet.cells = {flat({255, 0, 0}, 20, 40), flat({0, 255, 0}, 20, 40), Tensor(), flat({0, 0, 255}, 20, 40)};
  sheet.picture_height_px = 50;
  const Tensor page = contact_sheet(sheet);
  const auto red = extent(page, {255, 0, 0}), green = extent(page, {0, 255, 0}), blue = extent(page, {0, 0, 255});
  ASSERT_EQ(red.size(), 4U);
  EXPECT_EQ(red[2] - red[0] + 1, 50);
  EXPECT_EQ(red[3] - red[1] + 1, 100);
  EXPECT_EQ(green[0], red[0]);  // one row
  EXPECT_GT(green[1], red[3]);
  EXPECT_EQ(blue[1], green[1]);  // one column
  EXPECT_GT(blue[0], red[2]);
  EXPECT_EQ(page[blue[0]][red[1]][0].item<int64_t>(), 255);  // the missing cell is paper
  const Tensor head = page.slice(0, 0, red[0]), side = page.slice(1, 0, red[1]).slice(0, red[0]);
  EXPECT_LT(head.min().item<int64_t>(), 100);  // ink of the labels
  EXPECT_LT(side.min().item<int64_t>(), 100);
}

TEST(ContactSheet, ShowsFirstAndLastFrameOfAVideo) {
  Tensor video = at::full({9, 10, 10, 3}, 128, at::kByte);
  video[0] = flat({255, 0, 0}, 10, 10);
  video[4] = flat({0, 255, 0}, 10, 10);
  video[8] = flat({0, 0, 255}, 10, 10);
  const Tensor page = contact_sheet(
      {.column_labels = {""}, .row_labels = {""}, .cells = {video}, .frames_per_video = 3, .picture_height_px = 30});
  const auto first = extent(page, {255, 0, 0}), middle = extent(page, {0, 255, 0}), last = extent(page, {0, 0, 255});
  ASSERT_EQ(first.size() + middle.size() + last.size(), 12U);
  EXPECT_LT(first[3], middle[1]);
  EXPECT_LT(middle[3], last[1]);
  EXPECT_EQ(first[0], last[0]);
}

TEST(ContactSheet, LongAndForeignLabelsStayInside) {
  const std::string label =
      "a very long prompt that goes on and on about a cat — 猫 — and incomprehensibilities" + std::string(200, 'x');
  const Tensor page =
      contact_sheet({.column_labels = {label}, .row_labels = {label}, .cells = {flat({9, 9, 9}, 64, 64)}});
  EXPECT_LT(page.size(1), 600);
  EXPECT_GT(page.size(0), 300);  // many lines
}

TEST(ContactSheet, NamesWhatIsWrong) {
  EXPECT_ERROR(contact_sheet({.column_labels = {"a", "b"}, .row_labels = {"c"}, .cells = {Tensor()}}), Error,
               "1 rows x 2 columns", "found 1");
  EXPECT_ERROR(contact_sheet({.column_labels = {"a"}, .row_labels = {"c"}, .cells = {at::zeros({3, 3})}}), Error,
               "cell 0");
}

}  // namespace
}  // namespace jointtuner::media
