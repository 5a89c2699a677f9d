// Whether a JPEG file has all its bytes. OpenCV fills what is missing with grey and says nothing.
#pragma once
#include <string_view>

namespace jointtuner::media {

bool is_jpeg(std::string_view bytes);

/// Walks the markers (ITU-T T.81, B.1) to the end-of-image marker. Bytes behind it do not matter: phones append video
/// there.
bool has_jpeg_end(std::string_view bytes);

}  // namespace jointtuner::media
