#include "jointtuner/media/library_versions.h"

#include <fmt/format.h>

#include <opencv2/core/utility.hpp>

#include "libav.h"

namespace jointtuner::media {
namespace {

std::string dotted(unsigned version) {
  return fmt::format("{}.{}.{}", AV_VERSION_MAJOR(version), AV_VERSION_MINOR(version), AV_VERSION_MICRO(version));
}

}  // namespace

std::vector<LibraryVersion> library_versions() {
  return {{"libavformat", dotted(LIBAVFORMAT_VERSION_INT), dotted(avformat_version())},
          {"libavcodec", dotted(LIBAVCODEC_VERSION_INT), dotted(avcodec_version())},
          {"libswscale", dotted(LIBSWSCALE_VERSION_INT), dotted(swscale_version())},
          {"libavutil", dotted(LIBAVUTIL_VERSION_INT), dotted(avutil_version())},
          {"OpenCV", CV_VERSION, cv::getVersionString()}};
}

bool same_major(const LibraryVersion& version) {
  return version.built_with.substr(0, version.built_with.find('.')) ==
         version.loaded.substr(0, version.loaded.find('.'));
}

}  // namespace jointtuner::media
