#include "offload.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/accumulate.h>

namespace jointtuner::inject {

HostMemory::Buffer HostMemory::take(int64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = free_.lower_bound(bytes);
    if (found != free_.end()) return std::move(free_.extract(found).mapped());
  }
  Buffer buffer{bytes, {}};
  if (!device_.is_meta())
    buffer.bytes = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(device_.is_cuda()));
  allocated_bytes_ += bytes;
  return buffer;
}

void HostMemory::give_back(Buffer buffer) {
  const std::lock_guard lock(mutex_);
  const int64_t size = buffer.size_bytes;
  free_.emplace(size, std::move(buffer));
}

c10::Stream HostMemory::current_stream() const {
  return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
}

HostMemory::Done HostMemory::start_copy(const Tensor& to, const Tensor& from) {
  if (device_.is_meta()) return nullptr;
  if (!device_.is_cuda()) {
    to.copy_(from);
    return nullptr;
  }
  if (!copies_) copies_ = c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_);
  c10::Event ready(device_.type());
  ready.record(current_stream());
  ready.block(*copies_);
  const c10::StreamGuard on_copies(*copies_);
  to.copy_(from, /*non_blocking=*/true);
  auto done = std::make_unique<c10::Event>(device_.type());
  done->record(*copies_);
  return done;
}

void HostMemory::wait(Done& done) const {
  if (done) done->block(current_stream());
  done.reset();
}

OffloadedTensor::OffloadedTensor(std::shared_ptr<HostMemory> host, const Tensor& tensor)
    : host_(std::move(host)),
      storage_(tensor.storage().getWeakStorageImpl()),
      storage_offset_(tensor.storage_offset()),
      version_(tensor.unsafeGetTensorImpl()->version_counter().current_version()),
      sizes_(tensor.sizes().vec()),
      strides_(tensor.strides().vec()),
      options_(tensor.options()),
      buffer_(host_->take(static_cast<int64_t>(tensor.nbytes()))),
      device_tensor_(tensor.detach()) {
  copied_ = host_->start_copy(host_view(), device_tensor_);
}

OffloadedTensor::~OffloadedTensor() {
  try {
    host_->wait(copied_);
  } catch (const c10::Error&) {
    // The device has failed, as its next call will say: no copy is under way any more.
  }
  host_->give_back(std::move(buffer_));
}

void OffloadedTensor::release() {
  host_->wait(copied_);
  device_tensor_.reset();
}

void OffloadedTensor::prefetch() {
  if (device_tensor_.defined()) return;
  device_tensor_ = at::empty_strided(sizes_, strides_, options_);
  copied_ = host_->start_copy(device_tensor_, host_view());
}

Tensor OffloadedTensor::take() {
  prefetch();
  host_->wait(copied_);
  return std::move(device_tensor_);
}

bool OffloadedTensor::is(const Tensor& tensor) const {
  return storage_.lock().get() == tensor.storage().unsafeGetStorageImpl() &&
         version_ == tensor.unsafeGetTensorImpl()->version_counter().current_version() &&
         storage_offset_ == tensor.storage_offset() && tensor.sizes() == sizes_ && tensor.strides() == strides_ &&
         tensor.dtype() == options_.dtype();
}

Tensor OffloadedTensor::host_view() const {
  if (!buffer_.bytes.defined()) return {};
  const c10::ScalarType dtype = c10::typeMetaToScalarType(options_.dtype());
  const int64_t bytes = c10::multiply_integers(sizes_) * static_cast<int64_t>(c10::elementSize(dtype));
  return buffer_.bytes.narrow(0, 0, bytes).view(dtype).as_strided(sizes_, strides_);
}

bool OffloadedInputs::takes(const Tensor& tensor) {
  return tensor.requires_grad() && !tensor.is_leaf() && tensor.is_non_overlapping_and_dense();
}

std::shared_ptr<OffloadedTensor> OffloadedInputs::offloaded(const Tensor& tensor) const {
  for (const auto& inputs : segments_)
    for (const auto& input : inputs)
      if (input->is(tensor)) return input;
  return std::make_shared<OffloadedTensor>(host_, tensor);
}

size_t OffloadedInputs::park(const std::vector<Tensor>& inputs) {
  if (!segments_.empty())
    for (const auto& last : segments_.back()) last->release();
  std::vector<std::shared_ptr<OffloadedTensor>> parked;
  for (const Tensor& input : inputs) parked.push_back(offloaded(input));
  segments_.push_back(std::move(parked));
  return segments_.size() - 1;
}

std::vector<Tensor> OffloadedInputs::fetch(size_t segment) {
  std::vector<Tensor> inputs;
  for (const auto& input : segments_.at(segment)) inputs.push_back(input->take());
  if (segment > 0)
    for (const auto& input : segments_[segment - 1]) input->prefetch();
  return inputs;
}

}  // namespace jointtuner::inject
