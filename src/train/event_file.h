// TensorBoard event files, written by hand: TFRecord frames around protobuf messages. Private to train.
//
// A record is: length uint64 LE, masked CRC-32C of these 8 bytes, the message, masked CRC-32C of it; the mask is
// ((crc >> 15 | crc << 17) + 0xa282ead8) mod 2^32. The message is tensorflow.Event: wall_time = 1 (double, seconds),
// step = 2 (int64), file_version = 3 (string), summary = 5, session_log = 7. Source: tensorboard/compat/proto/*.proto,
// tensorboard/compat/tensorflow_stub/pywrap_tensorflow.py.
#pragma once
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace jointtuner::train {

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78).
uint32_t crc32c(std::string_view bytes);
/// `message` in its frame.
std::string tf_record(std::string_view message);

using Scalars = std::vector<std::pair<std::string, double>>;  ///< tag, value
/// Event messages at `wall_time_s` (seconds since 1970).
std::string version_event(double wall_time_s);
/// Tells TensorBoard that a session starts at `step`: whatever it read of later steps before is void.
std::string session_start_event(double wall_time_s, int64_t step);
std::string scalars_event(double wall_time_s, int64_t step, const Scalars& scalars);
/// `png`: a PNG file's bytes, RGB; its size is read from its header. Throws Error when it is no PNG.
std::string image_event(double wall_time_s, int64_t step, std::string_view tag, std::string_view png);

class EventFile {
 public:
  /// Makes FOLDER/events.out.tfevents.<seconds>.<host>.<process>; `first_step` is the first step that will be added.
  EventFile(const std::filesystem::path& folder, int64_t first_step);

  void add_scalars(int64_t step, const Scalars& scalars);
  void add_image(int64_t step, std::string_view tag, const std::filesystem::path& png);
  const std::filesystem::path& path() const { return path_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void append(std::string_view message);
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace jointtuner::train
