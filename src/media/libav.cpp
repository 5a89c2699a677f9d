#include "libav.h"

#include <fmt/format.h>

#include <array>
#include <cstdarg>
#include <mutex>

#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"

namespace jointtuner::media::libav {
namespace {

thread_local std::string complaint;

void receive_message(void* source, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_ERROR) return;
  std::array<char, 512> text{};
  std::vsnprintf(text.data(), text.size(), format, arguments);
  std::string line(text.data());
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  if (!line.empty()) {
    log_debug("libav: " + line);
    complaint = line;
  }
}

template <class Pointer>
Pointer allocated(Pointer pointer, std::string_view what) {
  if (!pointer) throw Error(fmt::format("out of memory: libav could not allocate a {}", what));
  return pointer;
}

}  // namespace

void FreeOutput::operator()(AVFormatContext* context) const {
  if (context->pb != nullptr) {
    uint8_t* bytes = nullptr;
    avio_close_dyn_buf(context->pb, &bytes);
    av_free(bytes);
  }
  avformat_free_context(context);
}

PacketPtr new_packet() { return allocated(PacketPtr(av_packet_alloc()), "packet"); }
FramePtr new_frame() { return allocated(FramePtr(av_frame_alloc()), "frame"); }

void take_over_messages() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(receive_message); });
  complaint.clear();
}

std::string last_complaint() {
  const std::string said = complaint.empty() ? "" : fmt::format(" (libav: {})", complaint);
  complaint.clear();
  return said;
}

std::string reason(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return text.data() + last_complaint();
}

int checked(int code, const std::filesystem::path& file, std::string_view action) {
  if (code < 0) throw Error(fmt::format("{}: cannot {}: {}", file.string(), action, reason(code)));
  return code;
}

}  // namespace jointtuner::media::libav
