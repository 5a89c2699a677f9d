// Which libraries this module was built with, and which are loaded.
#pragma once
#include <string>
#include <vector>

namespace jointtuner::media {

struct LibraryVersion {
  std::string name;
  std::string built_with;  ///< the headers'
  std::string loaded;      ///< what the library itself says
};

/// libavformat, libavcodec, libswscale, libavutil and OpenCV, as "major.minor.micro".
std::vector<LibraryVersion> library_versions();

/// True when both begin with the same number: other majors have other structs and functions.
bool same_major(const LibraryVersion& version);

}  // namespace jointtuner::media
