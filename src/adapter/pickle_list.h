// The pickle inside a torch.save'd list of tensors, read without executing anything. Private to adapter.
//
// A pickle is a program for a stack machine that may import and call any Python function. This reader knows the few
// instructions and the six names that a list of fp32, fp16 or bf16 tensors or Parameters consists of; at anything else
// it stops. Names: torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter, collections.OrderedDict,
// torch.FloatStorage, torch.HalfStorage, torch.BFloat16Storage. They are recognised by their spelling and turned into
// plain data.
#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace jointtuner::adapter {

/// One tensor as the pickle describes it: a strided view of a storage, which lies in a record of its own.
struct PickledTensor {
  std::string storage;  ///< key: the record is data/<key>
  at::ScalarType dtype = at::kFloat;
  int64_t storage_elements = 0;  ///< elements of the storage
  int64_t offset = 0;            ///< first element
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;  ///< in elements

  bool operator==(const PickledTensor&) const = default;
  /// Number of elements of the tensor.
  int64_t elements() const;
};

/// The tensors of a pickled list or tuple, in order. Every view lies inside its storage, and the tensors of a storage
/// together have at most as many elements as it. Throws Error "<origin>: ..." for everything else: a name or an
/// instruction that is not allowed (refused, not executed), another object than a list of tensors, a truncated or
/// inconsistent pickle.
std::vector<PickledTensor> read_pickled_list(std::string_view pickle, std::string_view origin);

/// The pickle (protocol 2) of a list of torch.nn.Parameter, each of the given tensors on the CPU and requiring a
/// gradient.
std::string pickled_parameter_list(const std::vector<PickledTensor>& tensors);

}  // namespace jointtuner::adapter
