#include "machine.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "jointtuner/base/bytes.h"
#include "jointtuner/base/device.h"
#include "jointtuner/base/gpus.h"
#include "jointtuner/media/library_versions.h"

namespace jointtuner::doctor {
namespace {

Row fact(const char* part, std::string check, std::string found, Verdict verdict = Verdict::ok) {
  return {.part = part, .check = std::move(check), .found = std::move(found), .verdict = verdict};
}

/// What follows `key` and a colon in a file of such lines; "" when there is none.
std::string field(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

/// 0 when the system does not say.
int64_t host_bytes() { return std::strtoll(field("/proc/meminfo", "MemTotal").c_str(), nullptr, 10) * 1024; }

/// LibTorch's own version: its library names it among the settings it was built with.
std::string loaded_torch() {
  constexpr std::string_view kName = "TORCH_VERSION=";
  const std::string settings = at::show_config();
  const size_t at = settings.find(kName);
  if (at == std::string::npos) return "";
  const size_t begin = at + kName.size();
  return settings.substr(begin, settings.find(',', begin) - begin);
}

Row library_row(const media::LibraryVersion& version, bool same) {
  const bool equal = version.built_with == version.loaded;
  return fact("versions", version.name,
              equal ? version.loaded : fmt::format("{}, built with {}", version.loaded, version.built_with),
              same ? Verdict::ok : Verdict::wrong);
}

Row torch_row() {
  const media::LibraryVersion torch{"LibTorch", TORCH_VERSION, loaded_torch()};
  return library_row(torch, torch.built_with == torch.loaded);  // its C++ interface changes between minor versions
}

std::string cuda_text(int64_t version) {
  return version == 0 ? "none" : fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

void add_cuda_rows(std::vector<Row>& rows) {
  const auto versions = cuda_versions();
  if (!versions) {
    rows.push_back(fact("versions", "CUDA", "built without (JOINTTUNER_CUDA is OFF)"));
    return;
  }
  const bool same = versions->toolkit / 1000 == versions->runtime / 1000;
  rows.push_back(library_row({"CUDA run time", cuda_text(versions->toolkit), cuda_text(versions->runtime)}, same));
  rows.push_back(fact("versions", "CUDA kernels for", std::string(cuda_architectures())));
  const bool serves = versions->driver == 0 || versions->driver / 1000 >= versions->runtime / 1000;
  rows.push_back(fact("versions", "NVIDIA driver serves CUDA", cuda_text(versions->driver),
                      serves ? Verdict::ok : Verdict::wrong));
  const auto& hooks = at::detail::getCUDAHooks();
  if (!hooks.hasCuDNN()) return;
  const auto text = [](long version) {
    return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  };
  const media::LibraryVersion cudnn{"cuDNN", text(hooks.versionCuDNN()), text(hooks.versionRuntimeCuDNN())};
  rows.push_back(library_row(cudnn, media::same_major(cudnn)));
}

std::string driver_text() {
  const std::string line = field("/proc/driver/nvidia/version", "NVRM version");
  return line.substr(0, line.find("  20"));
}

}  // namespace

std::vector<Row> version_rows() {
  std::vector<Row> rows{
      fact("versions", "jointtuner", JOINTTUNER_VERSION),
      fact("versions", "compiler", fmt::format("{}, C++{}", JOINTTUNER_COMPILER, __cplusplus / 100 % 100)),
      torch_row()};
  add_cuda_rows(rows);
  if (const std::string driver = driver_text(); !driver.empty())
    rows.push_back(fact("versions", "NVIDIA driver", driver));
  for (const media::LibraryVersion& version : media::library_versions())
    rows.push_back(library_row(version, media::same_major(version)));
  const char* waiting = std::getenv("OMP_WAIT_POLICY");
  rows.push_back(
      fact("versions", "OpenMP",
           fmt::format("{} threads, OMP_WAIT_POLICY {}", at::get_num_threads(), waiting ? waiting : "unset")));
  return rows;
}

std::vector<Row> device_rows() {
  std::vector<Row> rows{fact("devices", "cpu",
                             fmt::format("{}, {} cores, {}, {} of {} available", field("/proc/cpuinfo", "model name"),
                                         std::thread::hardware_concurrency(), at::get_cpu_capability(),
                                         bytes_text(free_memory_bytes(at::kCPU)), bytes_text(host_bytes())))};
  const std::vector<Gpu> found = gpus();
  for (size_t i = 0; i < found.size(); ++i) {
    const Gpu& gpu = found[i];
    const std::string code = code_for_capability(cuda_architectures(), gpu.capability);
    const std::string runs = code.empty() ? "no kernels built for it: add it to CMAKE_CUDA_ARCHITECTURES"
                             : code.starts_with("compute") ? code + " compiled by the driver"
                                                           : "kernels " + code;
    rows.push_back(fact("devices", fmt::format("cuda:{}", i),
                        fmt::format("{}, capability {}.{}, {} of {} free, {}", gpu.name, gpu.capability / 10,
                                    gpu.capability % 10, bytes_text(gpu.free_bytes), bytes_text(gpu.total_bytes), runs),
                        code.empty() ? Verdict::wrong : Verdict::ok));
  }
  return rows;
}

std::string why_no_gpu() {
  if (!gpus().empty()) return "";
  const bool driver = !driver_text().empty();
  if (!cuda_versions())
    return driver ? "no CUDA in this program, though there is a driver: build with -DJOINTTUNER_CUDA=ON"
                  : "no CUDA device: no driver here, and a program built without CUDA";
  return driver ? "no CUDA device: the driver shows none" : "no CUDA device: no driver here";
}

}  // namespace jointtuner::doctor
