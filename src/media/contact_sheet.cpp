#include "jointtuner/media/contact_sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "fit_mat.h"
#include "frames.h"
#include "jointtuner/base/error.h"

namespace jointtuner::media {
namespace {

constexpr int kGap = 6, kLine = 18, kRowLabelWidth = 150;
constexpr double kFontScale = 0.45;
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
const cv::Scalar kPaper(255, 255, 255), kInk(20, 20, 20);

int text_width(const std::string& text) {
  int baseline = 0;
  return cv::getTextSize(text, kFont, kFontScale, 1, &baseline).width;
}

/// One "?" for each character that the font lacks (UTF-8 continuation bytes add none).
std::string drawable(const std::string& label) {
  std::string text;
  for (const char byte : label) {
    const auto code = static_cast<unsigned char>(byte);
    if (code >= 32 && code < 127)
      text += byte;
    else if ((code & 0xC0) != 0x80)
      text += code < 32 ? ' ' : '?';
  }
  return text;
}

/// Greedy: breaks at spaces, and inside a word that is wider than the line.
std::vector<std::string> wrapped(const std::string& label, int width) {
  std::vector<std::string> lines;
  std::string line;
  for (const char letter : drawable(label)) {
    line += letter;
    if (line.size() < 2 || text_width(line) <= width) continue;
    const size_t space = line.rfind(' ', line.size() - 2);
    const size_t cut = letter == ' ' || space == std::string::npos || space == 0 ? line.size() - 1 : space;
    lines.push_back(line.substr(0, cut));
    const size_t rest = line.find_first_not_of(' ', cut);
    line = rest == std::string::npos ? "" : line.substr(rest);
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

void draw(cv::Mat page, const std::vector<std::string>& lines, int left, int top) {
  for (size_t i = 0; i < lines.size(); ++i) {
    const cv::Point origin(left, top + static_cast<int>(i + 1) * kLine - 5);
    cv::putText(page, lines[i], origin, kFont, kFontScale, kInk, 1, cv::LINE_AA);
  }
}

/// The pictures of a cell side by side, each `height` high.
cv::Mat strip(const Tensor& cell, const Sheet& sheet, size_t index) {
  if (!cell.defined()) return {};
  const Tensor video = as_video(cell, fmt::format("contact sheet, cell {}", index));
  const int64_t frames = video.size(0), shown = std::min(frames, sheet.frames_per_video);
  const auto height = static_cast<int>(sheet.picture_height_px);
  const double aspect = static_cast<double>(video.size(2)) / static_cast<double>(video.size(1));
  const int width = std::max(1, static_cast<int>(std::lround(height * aspect)));
  cv::Mat page(height, static_cast<int>(shown) * (width + 2) - 2, CV_8UC3, kPaper);
  for (int64_t i = 0; i < shown; ++i) {
    const int64_t frame = shown == 1 ? 0 : (2 * i * (frames - 1) + shown - 1) / (2 * (shown - 1));
    fit_mat(mat_view(video.select(0, frame)),
            page.colRange(static_cast<int>(i) * (width + 2), static_cast<int>(i) * (width + 2) + width), Fit::stretch);
  }
  return page;
}

void check_sheet(const Sheet& sheet) {
  const size_t expected = sheet.row_labels.size() * sheet.column_labels.size();
  if (sheet.cells.empty() || sheet.cells.size() != expected)
    throw Error(fmt::format("contact sheet: expected {} rows x {} columns = {} cells, found {}",
                            sheet.row_labels.size(), sheet.column_labels.size(), expected, sheet.cells.size()));
  if (sheet.frames_per_video < 1 || sheet.picture_height_px < 1 || sheet.picture_height_px > 4096)
    throw Error(fmt::format(
        "contact sheet: expected at least 1 frame a video and pictures 1 to 4096 pixels high, found {} and {}",
        sheet.frames_per_video, sheet.picture_height_px));
}

}  // namespace

Tensor contact_sheet(const Sheet& sheet) {
  check_sheet(sheet);
  const size_t rows = sheet.row_labels.size(), columns = sheet.column_labels.size();
  std::vector<cv::Mat> strips;
  std::vector<int> widths(columns, 60);
  for (size_t i = 0; i < sheet.cells.size(); ++i) {
    strips.push_back(strip(sheet.cells[i], sheet, i));
    widths[i % columns] = std::max(widths[i % columns], strips.back().cols);
  }
  const auto blank = [](const std::string& label) { return label.empty(); };
  const bool labelled = !std::all_of(sheet.row_labels.begin(), sheet.row_labels.end(), blank);
  const int label_width = labelled ? kRowLabelWidth + kGap : 0;

  int head = kGap, page_width = label_width + kGap;
  std::vector<std::vector<std::string>> heads, sides;
  for (size_t column = 0; column < columns; ++column) {
    heads.push_back(wrapped(sheet.column_labels[column], widths[column]));
    head = std::max(head, static_cast<int>(heads.back().size()) * kLine + kGap);
    page_width += widths[column] + kGap;
  }
  std::vector<int> tops;
  int page_height = head;
  for (size_t row = 0; row < rows; ++row) {
    sides.push_back(wrapped(sheet.row_labels[row], kRowLabelWidth));
    tops.push_back(page_height);
    page_height +=
        std::max(static_cast<int>(sheet.picture_height_px), static_cast<int>(sides.back().size()) * kLine) + kGap;
  }

  cv::Mat page(page_height, page_width, CV_8UC3, kPaper);
  for (size_t row = 0; row < rows; ++row) {
    draw(page, sides[row], kGap, tops[row]);
    int left = label_width + kGap;
    for (size_t column = 0; column < columns; ++column) {
      if (row == 0) draw(page, heads[column], left, 0);
      const cv::Mat& pictures = strips[row * columns + column];
      if (!pictures.empty()) pictures.copyTo(page(cv::Rect(left, tops[row], pictures.cols, pictures.rows)));
      left += widths[column] + kGap;
    }
  }
  return tensor_of(page);
}

}  // namespace jointtuner::media
