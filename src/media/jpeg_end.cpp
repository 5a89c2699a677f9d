#include "jpeg_end.h"

#include <cstddef>
#include <cstdint>

namespace jointtuner::media {
namespace {

constexpr uint8_t kEndOfImage = 0xD9, kStartOfScan = 0xDA, kTemporary = 0x01;

bool is_restart(uint8_t marker) { return marker >= 0xD0 && marker <= 0xD7; }

// First position >= from that holds 0xFF followed by a marker that ends entropy-coded data.
size_t end_of_scan(std::string_view bytes, size_t from) {
  for (size_t at = bytes.find('\xFF', from); at != std::string_view::npos && at + 1 < bytes.size();
       at = bytes.find('\xFF', at + 1)) {
    const auto next = static_cast<uint8_t>(bytes[at + 1]);
    if (next != 0x00 && next != 0xFF && !is_restart(next)) {
      return at;
    }
  }
  return bytes.size();
}

}  // namespace

bool is_jpeg(std::string_view bytes) { return bytes.substr(0, 3) == "\xFF\xD8\xFF"; }

bool has_jpeg_end(std::string_view bytes) {
  size_t at = 2;
  while (true) {
    at = bytes.find('\xFF', at);
    while (at < bytes.size() && bytes[at] == '\xFF') {
      ++at;
    }
    if (at >= bytes.size()) {
      return false;
    }
    const auto marker = static_cast<uint8_t>(bytes[at++]);
    if (marker == kEndOfImage) {
      return true;
    }
    if (marker == 0 || is_restart(marker) || marker == kTemporary) {
      continue;
    }
    if (at + 2 > bytes.size()) {
      return false;
    }
    at += static_cast<uint8_t>(bytes[at]) * 256U + static_cast<uint8_t>(bytes[at + 1]);
    if (marker == kStartOfScan) {
      at = end_of_scan(bytes, at);
    }
  }
}

}  // namespace jointtuner::media
