#include "event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"

namespace jointtuner::train {

namespace fs = std::filesystem;

namespace {

/// protobuf's wire format (protobuf.dev/programming-guides/encoding): a field is the varint number << 3 | wire type and
/// its value.
enum class Wire : uint64_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

template <class Integer>
std::string little_endian(Integer value) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(value); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes += static_cast<char>(value);
}

std::string tag_of(uint64_t field, Wire wire) { return varint(field << 3 | static_cast<uint64_t>(wire)); }

std::string integer(uint64_t field, int64_t value) {
  return tag_of(field, Wire::varint) + varint(static_cast<uint64_t>(value));
}
std::string real64(uint64_t field, double value) {
  return tag_of(field, Wire::fixed64) + little_endian(std::bit_cast<uint64_t>(value));
}
std::string real32(uint64_t field, float value) {
  return tag_of(field, Wire::fixed32) + little_endian(std::bit_cast<uint32_t>(value));
}
std::string bytes_field(uint64_t field, std::string_view value) {
  return (tag_of(field, Wire::bytes) + varint(value.size())).append(value);
}

/// Field numbers of tensorflow.Event, .Summary, .Summary.Value and .Summary.Image.
std::string event(double wall_time_s, int64_t step, const std::string& what) {
  return real64(1, wall_time_s) + integer(2, step) + what;
}
std::string summary(const std::string& values) { return bytes_field(5, values); }
std::string summary_value(std::string_view tag, const std::string& value) {
  return bytes_field(1, bytes_field(1, tag) + value);
}

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return std::rotr(crc, 15) + 0xa282ead8u;
}

/// A 32-bit big-endian number of a PNG's header chunk.
int64_t png_number(std::string_view png, size_t at) {
  int64_t value = 0;
  for (size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<unsigned char>(png[i]);
  return value;
}

double now_s() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

fs::path new_event_file(const fs::path& folder) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {'h', 'o', 's', 't'};
  for (int number = 0;; ++number) {
    fs::path path = folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", static_cast<int64_t>(now_s()),
                                         host.data(), ::getpid(), number);
    if (!fs::exists(path)) return path;
  }
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  return ~crc;
}

std::string tf_record(std::string_view message) {
  const std::string length = little_endian(uint64_t{message.size()});
  std::string record = length + little_endian(masked_crc(length));
  return record.append(message).append(little_endian(masked_crc(message)));
}

std::string version_event(double wall_time_s) { return real64(1, wall_time_s) + bytes_field(3, "brain.Event:2"); }

std::string session_start_event(double wall_time_s, int64_t step) {
  constexpr int64_t kStart = 1;
  return event(wall_time_s, step, bytes_field(7, integer(1, kStart)));
}

std::string scalars_event(double wall_time_s, int64_t step, const Scalars& scalars) {
  std::string values;
  for (const auto& [tag, value] : scalars) values += summary_value(tag, real32(2, static_cast<float>(value)));
  return event(wall_time_s, step, summary(values));
}

std::string image_event(double wall_time_s, int64_t step, std::string_view tag, std::string_view png) {
  constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
  constexpr size_t kWidthAt = 16, kHeightAt = 20, kHeaderEnd = 24;
  if (!png.starts_with(kSignature) || png.size() < kHeaderEnd)
    throw Error(fmt::format("TensorBoard image '{}': expected the bytes of a PNG file", tag));
  constexpr int64_t kRgb = 3;
  const std::string image = integer(1, png_number(png, kHeightAt)) + integer(2, png_number(png, kWidthAt)) +
                            integer(3, kRgb) + bytes_field(4, png);
  return event(wall_time_s, step, summary(summary_value(tag, bytes_field(4, image))));
}

EventFile::EventFile(const fs::path& folder, int64_t first_step)
    : path_(new_event_file(folder)), file_(std::fopen(path_.c_str(), "wb")) {
  if (!file_) throw Error(fmt::format("{}: cannot be opened for writing: {}", path_.string(), std::strerror(errno)));
  append(version_event(now_s()));
  append(session_start_event(now_s(), first_step));
}

void EventFile::add_scalars(int64_t step, const Scalars& scalars) { append(scalars_event(now_s(), step, scalars)); }

void EventFile::add_image(int64_t step, std::string_view tag, const fs::path& png) {
  append(image_event(now_s(), step, tag, read_file(png)));
}

void EventFile::append(std::string_view message) {
  const std::string record = tf_record(message);
  if (std::fwrite(record.data(), 1, record.size(), file_.get()) != record.size() || std::fflush(file_.get()) != 0)
    throw Error(
        fmt::format("{}: writing failed: {}. Checkpoints written so far are safe; free some space and go on "
                    "with --resume",
                    path_.string(), std::strerror(errno)));
}

}  // namespace jointtuner::train
