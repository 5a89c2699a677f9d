#include "jpeg_end.h"

#include <cstddef>
#include <cstdint>

namespace jointtuner::media {
namespace {

constexpr uint8_t kStuffed = 0x00, kTemporary = 0x01, kEndOfImage = 0xD9;

bool is_restart(uint8_t marker) { return marker >= 0xD0 && marker <= 0xD7; }

}  // namespace

bool is_jpeg(std::string_view bytes) { return bytes.substr(0, 3) == "\xFF\xD8\xFF"; }

bool has_jpeg_end(std::string_view bytes) {
  size_t at = 2;
  while (true) {
    at = bytes.find('\xFF', at);
    while (at < bytes.size() && bytes[at] == '\xFF') ++at;
    if (at >= bytes.size()) return false;
    const auto marker = static_cast<uint8_t>(bytes[at++]);
    if (marker == kEndOfImage) return true;
    if (marker == kStuffed || is_restart(marker) || marker == kTemporary)
      continue;  // entropy-coded data, or a marker without a length
    if (at + 2 > bytes.size()) return false;
    at += static_cast<uint8_t>(bytes[at]) * 256U + static_cast<uint8_t>(bytes[at + 1]);
  }
}

}  // namespace jointtuner::media
