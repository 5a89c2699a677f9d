// SHA-256 (OpenSSL), as lower-case hex.
#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace jointtuner {

/// Incremental SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  Sha256& update(std::string_view bytes);
  /// The digest; the object must not be used afterwards.
  std::array<unsigned char, 32> digest();
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view bytes);

/// Throws Error when the file cannot be read.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace jointtuner
