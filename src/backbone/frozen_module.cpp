#include "jointtuner/backbone/frozen_module.h"

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <caffe2/serialize/inline_container.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/source_range.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/operator_upgraders/upgraders_entry.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/csrc/jit/serialization/import_read.h>
#include <torch/csrc/jit/serialization/import_source.h>
#include <torch/csrc/jit/serialization/storage_context.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "jointtuner/backbone/traced_graph.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/shape.h"

namespace jointtuner::backbone {

namespace jit = torch::jit;
namespace fs = std::filesystem;

std::string one_line(const std::exception& error) {
  const auto* c10_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = c10_error ? c10_error->what_without_backtrace() : error.what();
  // The interpreter puts the Python stack of the trace first and the operator's message last.
  if (text.find("TorchScript interpreter") != std::string::npos) {
    while (!text.empty() && text.back() == '\n') text.pop_back();
    text.erase(0, text.rfind('\n') + 1);
  }
  const size_t stack = text.find("Exception raised from");
  if (stack != std::string::npos) text.erase(stack);
  text.erase(std::min(text.find('\n'), text.size()));
  return text;
}

bool is_out_of_memory(const std::exception& error) {
  // In this order: CUDA's allocator and run-time library, LibTorch's on the CPU, C++'s, and the libraries that take
  // work space of their own.
  constexpr std::string_view kTexts[] = {"out of memory", "DefaultCPUAllocator: can't allocate memory",
                                         "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"};
  const std::string_view text = error.what();
  return std::any_of(std::begin(kTexts), std::end(kTexts),
                     [&](std::string_view part) { return text.find(part) != std::string_view::npos; });
}

namespace {

/// A file mapped copy-on-write, shared by the storages that point into it.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (descriptor < 0 || ::fstat(descriptor, &status) != 0) {
      const std::string reason = std::strerror(errno);
      if (descriptor >= 0) ::close(descriptor);
      throw Error(
          fmt::format("{}: cannot be opened: {}. Export the bundle again or restore the file.", path.string(), reason));
    }
    size_ = static_cast<size_t>(status.st_size);
    void* data = ::mmap(nullptr, std::max<size_t>(size_, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0);
    const std::string reason = data == MAP_FAILED ? std::strerror(errno) : "";
    ::close(descriptor);
    if (data == MAP_FAILED) throw Error(fmt::format("{}: cannot be mapped into memory: {}", path.string(), reason));
    data_ = static_cast<char*>(data);
  }
  ~MappedFile() { ::munmap(data_, std::max<size_t>(size_, 1)); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

/// Reads the archive's small records from the mapping.
class MappedReader : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit MappedReader(std::shared_ptr<MappedFile> file) : file_(std::move(file)) {}
  size_t size() const override { return file_->size(); }
  size_t read(uint64_t position, void* buffer, size_t bytes, const char* what) const override {
    if (position >= file_->size()) return 0;
    const size_t count = std::min<size_t>(bytes, file_->size() - position);
    std::memcpy(buffer, file_->data() + position, count);
    return count;
  }

 private:
  std::shared_ptr<MappedFile> file_;
};

/// All tensor records of one pickle archive ("data", "constants") as storages inside the mapping, so that unpickling
/// copies nothing. A record that is not aligned (a file written by another tool) is left to the unpickler, which copies
/// it.
std::shared_ptr<jit::DeserializationStorageContext> mapped_storages(caffe2::serialize::PyTorchStreamReader& reader,
                                                                    const std::shared_ptr<MappedFile>& file,
                                                                    const std::string& archive) {
  constexpr size_t kAlignment = 16;
  auto storages = std::make_shared<jit::DeserializationStorageContext>();
  for (const std::string& record : reader.getAllRecords()) {
    if (record.rfind(archive + "/", 0) != 0) continue;
    const size_t offset = reader.getRecordOffset(record), bytes = reader.getRecordSize(record);
    if (offset % kAlignment != 0 || bytes == 0) continue;
    TORCH_CHECK(offset + bytes <= file->size(), "record ", record, " ends beyond the file's end");
    auto* owner = new std::shared_ptr<MappedFile>(file);
    c10::DataPtr data(
        file->data() + offset, owner, [](void* p) { delete static_cast<std::shared_ptr<MappedFile>*>(p); }, at::kCPU);
    storages->addStorage(record.substr(archive.size() + 1),
                         c10::Storage(c10::Storage::use_byte_size_t(), bytes, std::move(data), nullptr, false));
  }
  return storages;
}

/// The archive keeps the source of class a.b.C in the record code/a/b.py, and `qualifier` is a.b. A class not in the
/// archive: null.
std::shared_ptr<jit::Source> find_source(caffe2::serialize::PyTorchStreamReader& reader, const std::string& qualifier) {
  std::string record = "code/" + qualifier;
  std::replace(record.begin(), record.end(), '.', '/');
  record += ".py";
  if (!reader.hasRecord(record)) return nullptr;
  auto [data, bytes] = reader.getRecord(record);
  return std::make_shared<jit::Source>(std::string(static_cast<const char*>(data.get()), bytes), record, 1);
}

/// What torch::jit::load does (ScriptModuleDeserializer::deserialize of LibTorch), with the tensors left in the mapped
/// file and without the debug records, whose parsing costs more than the code's.
jit::Module load_module(const std::shared_ptr<MappedFile>& file) {
  caffe2::serialize::PyTorchStreamReader reader(std::make_shared<MappedReader>(file));
  reader.setShouldLoadDebugSymbol(false);
  auto unit = std::make_shared<jit::CompilationUnit>();
  std::vector<at::IValue> constants;
  jit::populate_upgraders_graph_map();
  jit::SourceImporter importer(
      unit, &constants, [&reader](const std::string& qualifier) { return find_source(reader, qualifier); },
      reader.version());
  const auto read = [&](const std::string& archive) {
    return jit::readArchiveAndTensors(
        archive, "", archive + "/",
        [&](const c10::QualifiedName& name) { return c10::StrongTypePtr(unit, importer.loadType(name)); },
        jit::ObjLoaderFunc, at::kCPU, reader, jit::Unpickler::defaultTypeParser,
        mapped_storages(reader, file, archive));
  };
  const at::IValue table = read("constants");
  for (const at::IValue& constant : table.toTupleRef().elements()) constants.push_back(constant);
  return jit::Module(read("data").toObject());
}

void freeze_and_move(const jit::Module& module, at::Device device) {
  // Tied weights (T5's embedding has two names) stay one tensor: by their address the source and what it became.
  std::unordered_map<const void*, std::pair<at::Tensor, at::Tensor>> moved;
  const auto move = [&](const at::Tensor& tensor) {
    auto& [source, there] = moved[tensor.const_data_ptr()];
    if (!there.defined() || source.sizes() != tensor.sizes() || source.strides() != tensor.strides()) {
      source = tensor;
      there = tensor.to(device);
    }
    return there;
  };
  for (const jit::Module& part : module.modules()) {
    auto object = part._ivalue();
    const auto type = object->type();
    for (size_t slot = 0; slot < type->numAttributes(); ++slot) {
      const at::IValue& value = object->getSlot(slot);
      if (!value.isTensor() || !value.toTensor().defined()) continue;
      at::Tensor tensor = value.toTensor().detach();
      if (tensor.dim() > 0 && tensor.is_cpu() && !device.is_cpu()) tensor = move(tensor);
      object->setSlot(slot, tensor);
    }
  }
}

void check_method(const jit::Module& module, const MethodSignature& wanted, const fs::path& file) {
  const auto method = module.find_method(wanted.name);
  if (!method)
    throw Error(
        fmt::format("{}: has no method `{}`. It is not the file that the exporter wrote: export the bundle again.",
                    file.string(), wanted.name));
  const size_t arguments = method->num_inputs() - 1;
  if (arguments != wanted.arguments)
    throw Error(fmt::format(
        "{}: method `{}` takes {} arguments, expected {}. Export the bundle again with this version's exporter.",
        file.string(), wanted.name, arguments, wanted.arguments));
}

}  // namespace

FrozenModule::FrozenModule(const fs::path& file, at::Device device, const std::vector<MethodSignature>& methods)
    : file_(file) {
  c10::NoGradGuard no_grad;
  try {
    auto mapping = std::make_shared<MappedFile>(file);
    module_ = std::make_unique<jit::Module>(load_module(mapping));
    freeze_and_move(*module_, device);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(
        fmt::format("{}: not a readable TorchScript file: {}. It is damaged or of another LibTorch version: export the "
                    "bundle again.",
                    file.string(), one_line(error)));
  }
  for (const MethodSignature& wanted : methods) check_method(*module_, wanted, file);
}

FrozenModule::~FrozenModule() = default;
FrozenModule::FrozenModule(FrozenModule&&) noexcept = default;
FrozenModule& FrozenModule::operator=(FrozenModule&&) noexcept = default;

struct FrozenMethod::Impl {
  std::string name;  ///< of file and method, for messages
  jit::Module module;
  jit::Code code;
};

FrozenMethod::FrozenMethod(const FrozenModule& module, const std::string& name, at::Device device) {
  const std::string file = module.file().string();
  try {
    const auto graph = module.module().get_method(name).graph()->copy();
    inline_calls(*graph, file, [](const std::string&) { return false; });
    canonicalise(*graph, file, device);
    impl_ = std::make_unique<Impl>(Impl{file + ": " + name, module.module(), jit::Code(graph, name)});
  } catch (const c10::Error& error) {
    throw Error(
        fmt::format("{}: method {} cannot be compiled: {}. Export the bundle again.", file, name, one_line(error)));
  }
}

namespace {

FrozenMethod::Values values_of(const at::IValue& result) {
  if (result.isTensor()) return {{result.toTensor()}};
  FrozenMethod::Values values;
  for (const at::IValue& element : result.toTupleRef().elements()) {
    TORCH_CHECK(!values.list, "a list of tensors is not the last of the results");
    if (element.isTensor())
      values.tensors.push_back(element.toTensor());
    else
      values.list = element.toTensorVector();
  }
  return values;
}

/// "[1, 4, 3, 8, 8], a list of 64"
std::string shapes_text(const std::vector<std::string>& shapes, std::optional<size_t> list) {
  std::string text = fmt::format("{}", fmt::join(shapes, ", "));
  return list ? text + fmt::format(", a list of {}", *list) : text;
}

}  // namespace

std::vector<at::Tensor> FrozenMethod::run(const std::vector<at::Tensor>& arguments) const {
  return run(Values{arguments}).tensors;
}

FrozenMethod::Values FrozenMethod::run(Values arguments) const {
  c10::NoGradGuard no_grad;
  std::vector<std::string> shapes;  // taken first: nothing here may keep an argument alive while the method runs
  for (const at::Tensor& argument : arguments.tensors) shapes.push_back(shape_text(argument.sizes()));
  const auto list_size = arguments.list ? std::optional(arguments.list->size()) : std::nullopt;
  const auto failure = [&](const std::string& why) {
    return fmt::format("{} failed on {}: {}", impl_->name, shapes_text(shapes, list_size), why);
  };
  try {
    jit::Stack stack{impl_->module._ivalue()};
    for (at::Tensor& argument : arguments.tensors) stack.emplace_back(std::move(argument));
    if (arguments.list) stack.emplace_back(std::move(*arguments.list));
    arguments = {};
    TORCH_CHECK(stack.size() == impl_->code.num_inputs(), "it takes ", impl_->code.num_inputs() - 1, " arguments");
    jit::InterpreterState(impl_->code).run(stack);
    return values_of(stack.back());
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) throw OutOfMemory(failure(one_line(error)));
    throw Error(failure(one_line(error)));
  }
}

FrozenMethod::~FrozenMethod() = default;
FrozenMethod::FrozenMethod(FrozenMethod&&) noexcept = default;
FrozenMethod& FrozenMethod::operator=(FrozenMethod&&) noexcept = default;

}  // namespace jointtuner::backbone
