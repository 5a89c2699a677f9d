// Amounts of memory as people write and read them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace jointtuner {

/// "24GiB", "24 GB", "1.5GiB", "24000MiB", "17B" -> bytes. KiB, MiB, GiB, TiB are powers of 1024, kB (or KB), MB, GB,
/// TB of 1000; capital or small letters. Throws UsageError, beginning with `where`, for anything else: no unit, a
/// number that is not above 0, more than 2^53 bytes.
int64_t parse_bytes(std::string_view text, std::string_view where);

/// "23.45 GiB"; below 1 GiB in MiB, below 1 MiB in KiB.
std::string bytes_text(int64_t bytes);

}  // namespace jointtuner
