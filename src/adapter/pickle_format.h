// The part of the pickle format that a list of tensors needs. Private to the adapter module.
#pragma once
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>

#include "pickle_list.h"

namespace jointtuner::adapter {

/// Instructions of the pickle machine (CPython Lib/pickle.py).
inline constexpr uint8_t kProtocol = 0x80, kFrame = 0x95, kStop = '.', kMark = '(';
inline constexpr uint8_t kNone = 'N', kTrue = 0x88, kFalse = 0x89, kInt4 = 'J', kInt1 = 'K', kInt2 = 'M', kLong1 = 0x8a;
inline constexpr uint8_t kText4 = 'X', kText1 = 0x8c, kEmptyTuple = ')', kTuple = 't', kTuple1 = 0x85, kTuple2 = 0x86,
                         kTuple3 = 0x87, kEmptyList = ']', kAppend = 'a', kAppends = 'e', kEmptyDictionary = '}',
                         kSetItem = 's', kSetItems = 'u';
inline constexpr uint8_t kPut1 = 'q', kPut4 = 'r', kMemoize = 0x94, kGet1 = 'h', kGet4 = 'j';
inline constexpr uint8_t kGlobal = 'c', kStackGlobal = 0x93, kPersistentId = 'Q', kReduce = 'R';

/// The only names that a pickle may mention.
inline const std::string kRebuildTensor = "torch._utils._rebuild_tensor_v2";
inline const std::string kRebuildParameter = "torch._utils._rebuild_parameter";
inline const std::string kOrderedDictionary = "collections.OrderedDict";

inline const std::map<std::string, at::ScalarType>& storage_types() {
  static const std::map<std::string, at::ScalarType> types = {
      {"torch.FloatStorage", at::kFloat}, {"torch.HalfStorage", at::kHalf}, {"torch.BFloat16Storage", at::kBFloat16}};
  return types;
}

/// Whether the tensor has elements, all of them in its storage, and no more than it.
bool lies_inside_storage(const PickledTensor& tensor);

}  // namespace jointtuner::adapter
