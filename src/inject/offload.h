// Inputs of segments that wait in host memory between forward and backward. Private to inject.
//
// While a segment runs forward its inputs are copied out beside it; when the next one begins, the device's copies are
// let go. In backward the inputs of a segment are copied back while the one after it is computed again. So the device
// holds those of two segments at a time. On CUDA the copies run on a stream of their own, between the device and pinned
// memory; elsewhere they are plain copies at the same places in the program, so what lives when is the same on every
// device, and nothing is copied on meta, where only the sizes are counted.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/util/intrusive_ptr.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace jointtuner::inject {

using at::Tensor;

/// The host memory of one program and the stream that fills and reads it. All copies run in the order of their calls,
/// so a buffer may be given back, and taken again, while a copy from it is still under way.
class HostMemory {
 public:
  explicit HostMemory(at::Device device) : device_(device) {}

  struct Buffer {
    int64_t size_bytes = 0;
    Tensor bytes;  ///< undefined on meta
  };
  /// The smallest free buffer that holds so many bytes, else a new one: allocating pinned memory takes milliseconds, so
  /// buffers are reused from run to run.
  Buffer take(int64_t bytes);
  void give_back(Buffer buffer);
  /// Of all buffers, in use or free.
  int64_t allocated_bytes() const { return allocated_bytes_; }

  /// What tells that a copy is done; null when it was done at once.
  using Done = std::unique_ptr<c10::Event>;
  /// Starts to.copy_(from), after all that the current stream holds by now. Both must live until wait().
  Done start_copy(const Tensor& to, const Tensor& from);
  /// What the current stream gets from now on runs after the copy.
  void wait(Done& done) const;

 private:
  c10::Stream current_stream() const;

  const at::Device device_;
  std::mutex mutex_;
  std::multimap<int64_t, Buffer> free_;
  std::atomic<int64_t> allocated_bytes_ = 0;
  std::optional<c10::Stream> copies_;
};

/// A tensor that waits in host memory.
class OffloadedTensor {
 public:
  // Starts the copy out and holds the tensor until release().
  OffloadedTensor(std::shared_ptr<HostMemory> host, const Tensor& tensor);
  ~OffloadedTensor();
  OffloadedTensor(const OffloadedTensor&) = delete;
  OffloadedTensor& operator=(const OffloadedTensor&) = delete;

  /// Lets the device's tensor go once it is copied.
  void release();
  /// Starts the copy back unless the tensor is on the device.
  void prefetch();
  /// The tensor, equal in values, sizes and strides. The next call copies it anew.
  Tensor take();
  /// Whether it was made of this tensor, or of another view that is the same values at the same place.
  bool is(const Tensor& tensor) const;

 private:
  Tensor host_view() const;

  const std::shared_ptr<HostMemory> host_;
  const c10::weak_intrusive_ptr<c10::StorageImpl> storage_;
  const int64_t storage_offset_;
  const uint32_t version_;
  const std::vector<int64_t> sizes_, strides_;
  const at::TensorOptions options_;
  HostMemory::Buffer buffer_;
  HostMemory::Done copied_;
  Tensor device_tensor_;
};

/// The offloaded inputs of one run, in the order in which its segments ran. Not for several threads at a time.
class OffloadedInputs {
 public:
  explicit OffloadedInputs(std::shared_ptr<HostMemory> host) : host_(std::move(host)) {}

  /// Whether a segment's input is offloaded: a recorded activation. What needs no gradient (text states, the timestep's
  /// embedding, rotary tables) is one tensor for all segments, and a leaf (adapters, the user's latents) stays anyway;
  /// a view with gaps would not come back with the same strides.
  static bool takes(const Tensor& tensor);

  /// Copies the inputs of the next segment out, one that an earlier segment had too not again, and lets go of the last
  /// segment's. Returns what fetch() is to be called with.
  size_t park(const std::vector<Tensor>& inputs);
  /// The inputs of that segment, on the device, and starts to copy those of the segment before.
  std::vector<Tensor> fetch(size_t segment);

 private:
  std::shared_ptr<OffloadedTensor> offloaded(const Tensor& tensor) const;

  const std::shared_ptr<HostMemory> host_;
  std::vector<std::vector<std::shared_ptr<OffloadedTensor>>> segments_;
};

}  // namespace jointtuner::inject
