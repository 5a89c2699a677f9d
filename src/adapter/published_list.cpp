#include "jointtuner/adapter/published_list.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <c10/util/Exception.h>
#include <caffe2/serialize/inline_container.h>
#include <fmt/format.h>

#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"
#include "pickle_list.h"

namespace jointtuner::adapter {
namespace {

namespace fs = std::filesystem;
using caffe2::serialize::PyTorchStreamReader;
using caffe2::serialize::PyTorchStreamWriter;

constexpr std::string_view kZipMagic = "PK\x03\x04";
constexpr std::string_view kLegacyMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46";  // torch.save before 1.6

std::string first_bytes(const fs::path& path, size_t count) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw Error(fmt::format("{}: cannot be opened; expected a published adapter list (.pt)", path.string()));
  std::string bytes(count, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<size_t>(stream.gcount()));
  return bytes;
}

void check_is_zip(const fs::path& path) {
  if (!fs::is_regular_file(path))
    throw Error(fmt::format("{}: expected a published adapter list (.pt)", path.string()));
  const std::string start = first_bytes(path, kLegacyMagic.size());
  if (start.starts_with(kZipMagic)) return;
  if (start == kLegacyMagic)
    throw Error(
        fmt::format("{0}: is in torch.save's format before PyTorch 1.6, which is not read; convert it with Python: "
                    "torch.save(torch.load(\"{0}\", weights_only=True), \"new.pt\")",
                    path.string()));
  throw Error(fmt::format("{}: expected a file of torch.save (a zip archive), found something else", path.string()));
}

/// Records of a torch.save archive. LibTorch's exceptions become Errors that name the file.
class Archive {
 public:
  explicit Archive(const fs::path& path) : path_(path), bytes_(fs::file_size(path)) {
    guarded([&] { reader_ = std::make_unique<PyTorchStreamReader>(path.string()); });
  }

  bool contains(const std::string& record) {
    bool found = false;
    guarded([&] { found = reader_->hasRecord(record); });
    return found;
  }

  std::string text(const std::string& record) {
    std::string bytes(size(record), '\0');
    read(record, bytes.data(), bytes.size());
    return bytes;
  }

  size_t size(const std::string& record) {
    size_t size = 0;
    guarded([&] { size = reader_->getRecordSize(record); });
    // Records are stored, not compressed: a larger one is a lie about the size, or a bomb.
    if (size > bytes_)
      throw Error(fmt::format("{}: damaged: its record {} is larger than the file", path_.string(), record));
    return size;
  }

  void read(const std::string& record, void* target, size_t size) {
    guarded([&] { reader_->getRecord(record, target, size); });
  }

 private:
  template <class Action>
  void guarded(Action&& action) {
    try {
      action();
    } catch (const c10::Error& error) {
      throw Error(fmt::format("{}: is not a whole torch.save file (truncated or damaged): {}", path_.string(),
                              error.what_without_backtrace()));
    }
  }

  fs::path path_;
  size_t bytes_;
  std::unique_ptr<PyTorchStreamReader> reader_;
};

Tensor read_storage(Archive& archive, const PickledTensor& tensor, const fs::path& path) {
  const std::string record = "data/" + tensor.storage;
  const size_t expected = static_cast<size_t>(tensor.storage_elements) * c10::elementSize(tensor.dtype);
  const size_t found = archive.size(record);
  if (found != expected)
    throw Error(fmt::format("{}: damaged: expected {} bytes in its record {}, found {}", path.string(), expected,
                            record, found));
  Tensor storage = at::empty({tensor.storage_elements}, at::TensorOptions().dtype(tensor.dtype));
  archive.read(record, storage.mutable_data_ptr(), expected);
  return storage;
}

void write_archive(const fs::path& path, const std::vector<Tensor>& tensors) {
  std::ofstream stream(path, std::ios::binary);
  // Without a file name the archive's inner folder has a fixed name, so that equal adapters give equal bytes.
  PyTorchStreamWriter writer([&](const void* bytes, size_t size) {
    stream.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
    return stream ? size : size_t{0};
  });
  std::vector<PickledTensor> described;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    described.push_back(
        {std::to_string(i), at::kFloat, tensor.numel(), 0, tensor.sizes().vec(), tensor.strides().vec()});
  }
  const std::string pickle = pickled_parameter_list(described);
  const std::string order = "little";
  writer.writeRecord("data.pkl", pickle.data(), pickle.size());
  writer.writeRecord("byteorder", order.data(), order.size());
  for (size_t i = 0; i < tensors.size(); ++i)
    writer.writeRecord("data/" + std::to_string(i), tensors[i].const_data_ptr(), tensors[i].nbytes());
  writer.writeEndOfFile();
  stream.close();
  if (!stream) throw Error("cannot be written; is the disk full?");
}

}  // namespace

std::vector<Tensor> load_published_list(const fs::path& path) {
  check_is_zip(path);
  Archive archive(path);
  if (archive.contains("byteorder") && archive.text("byteorder") != "little")
    throw Error(
        fmt::format("{}: expected little-endian numbers, found \"{}\"", path.string(), archive.text("byteorder")));
  const auto described = read_pickled_list(archive.text("data.pkl"), path.string());
  std::map<std::pair<std::string, at::ScalarType>, Tensor> storages;
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < described.size(); ++i) {
    const PickledTensor& one = described[i];
    Tensor& storage = storages[{one.storage, one.dtype}];
    if (!storage.defined()) storage = read_storage(archive, one, path);
    tensors.push_back(storage.as_strided(one.sizes, one.strides, one.offset).to(at::kFloat, false, true).contiguous());
    if (!at::isfinite(tensors.back()).all().item<bool>())
      throw Error(fmt::format("{}: tensor {} of the list, {}, holds a NaN or an infinity", path.string(), i,
                              shape_text(one.sizes)));
  }
  return tensors;
}

AdapterSet match_published_list(const std::vector<Tensor>& tensors, const std::vector<Site>& sites,
                                const fs::path& path, at::Device device) {
  const bool gated = tensors.size() != 2 * sites.size();
  const size_t each = gated ? 3 : 2;
  if (sites.empty() || tensors.size() != each * sites.size())
    throw Error(fmt::format(
        "{}: expected {} tensors, three a site (lora_up, lora_down, lora_gate), for the backbone's {} sites, "
        "found {}: it belongs to another backbone",
        path.string(), 3 * sites.size(), sites.size(), tensors.size()));
  if (tensors[0].dim() != 2)
    throw Error(fmt::format("{}: expected a matrix [M,R] as first tensor (lora_up of {}), found shape {}",
                            path.string(), sites[0].path, shape_text(tensors[0].sizes())));
  const int64_t rank = tensors[0].size(1);
  for (size_t i = 0; i < sites.size(); ++i) {
    const std::string where = fmt::format("{}: tensor {}, {}", path.string(), each * i, sites[i].path);
    check_shape(tensors[each * i], {sites[i].out_features, rank}, where + ".lora_up");
    check_shape(tensors[each * i + 1], {rank, sites[i].in_features}, where + ".lora_down");
    if (gated) check_shape(tensors[each * i + 2], {1, sites[i].in_features}, where + ".lora_gate");
  }
  AdapterSet adapters(sites, rank, gated, device);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < sites.size(); ++i) {
    adapters.at(i).up.copy_(tensors[each * i]);
    adapters.at(i).down.copy_(tensors[each * i + 1]);
    if (gated) adapters.at(i).gate.copy_(tensors[each * i + 2]);
  }
  return adapters;
}

void save_published_list(const fs::path& path, const AdapterSet& adapters) {
  std::vector<Tensor> tensors;
  const auto add = [&](const Tensor& tensor) { tensors.push_back(tensor.detach().to(at::kCPU).contiguous()); };
  for (size_t i = 0; i < adapters.size(); ++i) {
    add(adapters.at(i).up);
    add(adapters.at(i).down);
    if (adapters.gated()) add(adapters.at(i).gate);
  }
  write_atomically(path, [&](const fs::path& temporary) {
    try {
      write_archive(temporary, tensors);
    } catch (const std::exception& error) {
      const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
      throw Error(
          fmt::format("{}: {}", path.string(), torch_error ? torch_error->what_without_backtrace() : error.what()));
    }
  });
}

}  // namespace jointtuner::adapter
