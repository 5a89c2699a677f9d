#include "pickle_format.h"
#include "pickle_list.h"

namespace jointtuner::adapter {
namespace {

std::string little_endian(uint32_t number) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(number >> 8 * i & 0xff);
  return bytes;
}

/// Writes the instructions that Machine reads.
class Writer {
 public:
  void raw(uint8_t instruction) { bytes_ += static_cast<char>(instruction); }
  void name(const std::string& full) {
    const size_t dot = full.rfind('.');
    raw(kGlobal);
    bytes_ += full.substr(0, dot) + "\n" + full.substr(dot + 1) + "\n";
  }
  void text(const std::string& value) {
    raw(kText4);
    bytes_ += little_endian(static_cast<uint32_t>(value.size())) + value;
  }
  void integer(int64_t value) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
      raw(kInt4);
      bytes_ += little_endian(static_cast<uint32_t>(value));
      return;
    }
    raw(kLong1);
    bytes_ += static_cast<char>(8);
    for (int i = 0; i < 8; ++i) bytes_ += static_cast<char>(static_cast<uint64_t>(value) >> 8 * i & 0xff);
  }
  void integers(const std::vector<int64_t>& values) {
    raw(kMark);
    for (const int64_t value : values) integer(value);
    raw(kTuple);
  }
  void empty_ordered_dictionary() {
    name(kOrderedDictionary);
    raw(kEmptyTuple);
    raw(kReduce);
  }
  void parameter(const PickledTensor& tensor) {
    name(kRebuildParameter);
    raw(kMark);
    name(kRebuildTensor);
    raw(kMark);
    storage(tensor);
    integer(tensor.offset);
    integers(tensor.sizes);
    integers(tensor.strides);
    raw(kFalse);
    empty_ordered_dictionary();
    raw(kTuple);
    raw(kReduce);
    raw(kTrue);
    empty_ordered_dictionary();
    raw(kTuple);
    raw(kReduce);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void storage(const PickledTensor& tensor) {
    raw(kMark);
    text("storage");
    for (const auto& [type, dtype] : storage_types())
      if (dtype == tensor.dtype) name(type);
    text(tensor.storage);
    text("cpu");
    integer(tensor.storage_elements);
    raw(kTuple);
    raw(kPersistentId);
  }

  std::string bytes_;
};

}  // namespace

std::string pickled_parameter_list(const std::vector<PickledTensor>& tensors) {
  Writer writer;
  writer.raw(kProtocol);
  writer.raw(2);
  writer.raw(kEmptyList);
  writer.raw(kMark);
  for (const PickledTensor& tensor : tensors) writer.parameter(tensor);
  writer.raw(kAppends);
  writer.raw(kStop);
  return writer.bytes();
}

}  // namespace jointtuner::adapter
