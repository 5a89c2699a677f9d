#include "pickle_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include "jointtuner/base/error.h"
#include "pickle_format.h"

namespace jointtuner::adapter {
namespace {

constexpr size_t kMaximumBytes = size_t{4} << 20;  // a published list's pickle has 0.2 MB
constexpr size_t kMaximumText = 1000;
constexpr size_t kMaximumTensors = 100'000;
constexpr int kMaximumTupleDepth = 8;  // a list of tensors needs 3

enum class Kind { nothing, boolean, integer, text, name, tuple, list, dictionary, storage, tensor };

const char* kind_text(Kind kind) {
  static constexpr const char* kTexts[] = {"None",    "a bool", "a number",     "a text",    "a name",
                                           "a tuple", "a list", "a dictionary", "a storage", "a tensor"};
  return kTexts[static_cast<int>(kind)];
}

/// A value on the machine's stack. Lists hold tensors only and tuples are immutable, so values cannot form cycles.
struct Value {
  Kind kind = Kind::nothing;
  int64_t integer = 0;    ///< of an integer or boolean
  std::string text = {};  ///< of a text or name
  int tuple_depth = 0;
  std::shared_ptr<const std::vector<Value>> tuple = {};
  std::shared_ptr<std::vector<PickledTensor>> list = {};
  std::shared_ptr<const PickledTensor> tensor = {};  ///< of a tensor; of a storage: its key, dtype and elements
};

class Machine {
 public:
  Machine(std::string_view pickle, std::string_view origin) : bytes_(pickle), origin_(origin) {}

  std::vector<PickledTensor> run() {
    if (bytes_.size() > kMaximumBytes) damaged("is larger than any list of adapters needs");
    while (step(byte())) {
    }
    if (stack_.size() != 1 || !marks_.empty()) damaged("does not end with one object");
    return tensors_of(stack_.back());
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    throw Error(
        fmt::format("{}: the pickle is damaged: it {} (byte {} of {})", origin_, what, position_, bytes_.size()));
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(
        fmt::format("{}: expected a list of fp32 tensors, but the pickle {}; it was refused and nothing of it was "
                    "executed",
                    origin_, what));
  }

  std::string_view take(size_t count) {
    if (count > bytes_.size() - position_) damaged("ends too early");
    position_ += count;
    return bytes_.substr(position_ - count, count);
  }
  uint8_t byte() { return static_cast<uint8_t>(take(1)[0]); }
  /// Little-endian, without sign.
  uint64_t number(size_t width) {
    const std::string_view raw = take(width);
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | static_cast<uint8_t>(raw[i]);
    return value;
  }
  std::string text(size_t length) {
    if (length > kMaximumText) refuse(fmt::format("has a text of {} bytes", length));
    return std::string(take(length));
  }
  std::string line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) damaged("ends inside a name");
    const std::string text = this->text(end - position_);
    position_ += 1;
    return text;
  }

  void push(Value value) { stack_.push_back(std::move(value)); }
  void push_integer(int64_t integer, Kind kind = Kind::integer) { push({.kind = kind, .integer = integer}); }

  /// Number of values above the last mark, or above the bottom when there is none.
  size_t above_mark() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
  Value pop() {
    if (above_mark() == 0) damaged("takes from an empty stack");
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }
  Value pop(Kind kind, const char* purpose) {
    Value value = pop();
    if (value.kind != kind)
      refuse(fmt::format("has {} where {} is {}", kind_text(value.kind), purpose, kind_text(kind)));
    return value;
  }
  std::vector<Value> pop_to_mark() {
    if (marks_.empty()) damaged("has no mark where one is needed");
    std::vector<Value> values(std::make_move_iterator(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back())),
                              std::make_move_iterator(stack_.end()));
    stack_.resize(marks_.back());
    marks_.pop_back();
    return values;
  }

  void push_tuple(std::vector<Value> values) {
    int depth = 1;
    for (const Value& value : values) depth = std::max(depth, value.tuple_depth + 1);
    if (depth > kMaximumTupleDepth) refuse(fmt::format("nests tuples more than {} deep", kMaximumTupleDepth));
    push({.kind = Kind::tuple,
          .tuple_depth = depth,
          .tuple = std::make_shared<const std::vector<Value>>(std::move(values))});
  }
  void push_tuple_of(size_t count) {
    std::vector<Value> values(count);
    for (size_t i = count; i-- > 0;) values[i] = pop();
    push_tuple(std::move(values));
  }

  void append(const std::vector<Value>& values) {
    const Value list = pop(Kind::list, "what is appended to");
    for (const Value& value : values) {
      if (value.kind != Kind::tensor)
        refuse(fmt::format("has {} as element {} of its list", kind_text(value.kind), list.list->size()));
      if (list.list->size() == kMaximumTensors) refuse(fmt::format("lists more than {} tensors", kMaximumTensors));
      list.list->push_back(*value.tensor);
    }
    push(list);
  }

  void put(uint64_t slot) {
    if (above_mark() == 0) damaged("remembers a value that is not there");
    memo_[slot] = stack_.back();
  }
  void get(uint64_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) damaged("recalls a value that was never remembered");
    push(found->second);
  }

  void push_name(const std::string& module, const std::string& name) {
    const std::string full = module + "." + name;
    if (full != kRebuildTensor && full != kRebuildParameter && full != kOrderedDictionary &&
        !storage_types().contains(full)) {
      refuse(fmt::format("asks for {}", printable(full)));
    }
    push({.kind = Kind::name, .text = full});
  }
  static std::string printable(const std::string& text) {
    std::string shown;
    for (const char c : text.substr(0, 100)) shown += c >= ' ' && c <= '~' ? c : '?';
    return shown;
  }

  void push_storage() {
    const Value id = pop(Kind::tuple, "a storage's description");
    const auto& parts = *id.tuple;
    const bool well_formed = parts.size() == 5 && parts[0].kind == Kind::text && parts[0].text == "storage" &&
                             parts[1].kind == Kind::name && storage_types().contains(parts[1].text) &&
                             parts[2].kind == Kind::text && parts[3].kind == Kind::text &&
                             parts[4].kind == Kind::integer;
    if (!well_formed) refuse("describes a storage in an unknown way");
    if (parts[4].integer < 0) damaged("has a storage of negative size");
    PickledTensor storage{.storage = parts[2].text,
                          .dtype = storage_types().at(parts[1].text),
                          .storage_elements = parts[4].integer,
                          .sizes = {},
                          .strides = {}};
    push({.kind = Kind::storage, .tensor = std::make_shared<const PickledTensor>(std::move(storage))});
  }

  void reduce() {
    const Value arguments = pop(Kind::tuple, "a list of arguments");
    const Value name = pop(Kind::name, "what is called");
    if (name.text == kRebuildTensor) {
      push_tensor(*arguments.tuple);
    } else if (name.text == kRebuildParameter) {
      const auto& parts = *arguments.tuple;
      if (parts.size() != 3 || parts[0].kind != Kind::tensor) refuse("builds a Parameter in an unknown way");
      push(parts[0]);
    } else if (name.text == kOrderedDictionary && arguments.tuple->empty()) {
      push({.kind = Kind::dictionary});
    } else {
      refuse(fmt::format("calls {}", name.text));
    }
  }

  void push_tensor(const std::vector<Value>& parts) {
    const bool well_formed = parts.size() == 6 && parts[0].kind == Kind::storage && parts[1].kind == Kind::integer &&
                             parts[2].kind == Kind::tuple && parts[3].kind == Kind::tuple;
    if (!well_formed) refuse("builds a tensor in an unknown way");
    PickledTensor tensor = *parts[0].tensor;
    tensor.offset = parts[1].integer;
    tensor.sizes = integers(*parts[2].tuple);
    tensor.strides = integers(*parts[3].tuple);
    if (!lies_inside_storage(tensor)) damaged("has a tensor that does not lie inside its storage");
    push({.kind = Kind::tensor, .tensor = std::make_shared<const PickledTensor>(std::move(tensor))});
  }

  std::vector<int64_t> integers(const std::vector<Value>& values) const {
    std::vector<int64_t> numbers;
    for (const Value& value : values) {
      if (value.kind != Kind::integer) refuse(fmt::format("has {} in a tensor's shape", kind_text(value.kind)));
      numbers.push_back(value.integer);
    }
    return numbers;
  }

  std::vector<PickledTensor> tensors_of(const Value& value) const {
    std::vector<PickledTensor> tensors;
    if (value.kind == Kind::list) {
      tensors = *value.list;
    } else if (value.kind == Kind::tuple) {
      for (const Value& element : *value.tuple) {
        if (element.kind != Kind::tensor) refuse(fmt::format("has {} in its tuple", kind_text(element.kind)));
        tensors.push_back(*element.tensor);
      }
    } else {
      refuse(fmt::format("is {}", kind_text(value.kind)));
    }
    std::map<std::string, int64_t> used;
    for (const PickledTensor& tensor : tensors)
      if ((used[tensor.storage] += tensor.elements()) > tensor.storage_elements)
        damaged("has tensors that share elements of the storage " + printable(tensor.storage));
    return tensors;
  }

  /// Executes one instruction; false at the end.
  bool step(uint8_t instruction) {
    if (instruction == kStop) return false;
    if (!step_data(instruction) && !step_structure(instruction))
      refuse(fmt::format("has the instruction 0x{:02x} at byte {}, which a list of tensors does not need", instruction,
                         position_ - 1));
    return true;
  }

  bool step_data(uint8_t instruction) {
    switch (instruction) {
      case kProtocol:
        if (byte() > 5) refuse("has an unknown protocol");
        return true;
      case kFrame:
        take(8);
        return true;
      case kNone:
        push({});
        return true;
      case kTrue:
        push_integer(1, Kind::boolean);
        return true;
      case kFalse:
        push_integer(0, Kind::boolean);
        return true;
      case kInt1:
        push_integer(static_cast<int64_t>(number(1)));
        return true;
      case kInt2:
        push_integer(static_cast<int64_t>(number(2)));
        return true;
      case kInt4:
        push_integer(static_cast<int32_t>(number(4)));
        return true;
      case kLong1:
        push_long();
        return true;
      case kText1:
        push({.kind = Kind::text, .text = text(number(1))});
        return true;
      case kText4:
        push({.kind = Kind::text, .text = text(number(4))});
        return true;
      case kPut1:
        put(number(1));
        return true;
      case kPut4:
        put(number(4));
        return true;
      case kMemoize:
        put(memo_.size());
        return true;
      case kGet1:
        get(number(1));
        return true;
      case kGet4:
        get(number(4));
        return true;
      default:
        return false;
    }
  }

  bool step_structure(uint8_t instruction) {
    switch (instruction) {
      case kMark:
        marks_.push_back(stack_.size());
        return true;
      case kEmptyTuple:
        push_tuple({});
        return true;
      case kTuple:
        push_tuple(pop_to_mark());
        return true;
      case kTuple1:
        push_tuple_of(1);
        return true;
      case kTuple2:
        push_tuple_of(2);
        return true;
      case kTuple3:
        push_tuple_of(3);
        return true;
      case kEmptyList:
        push({.kind = Kind::list, .list = std::make_shared<std::vector<PickledTensor>>()});
        return true;
      case kAppend:
        append({pop()});
        return true;
      case kAppends:
        append(pop_to_mark());
        return true;
      case kEmptyDictionary:
        push({.kind = Kind::dictionary});
        return true;
      case kSetItem:
      case kSetItems:
        refuse("is a dictionary (a state dict?)");
      case kGlobal:
        push_global();
        return true;
      case kStackGlobal: {
        const Value name = pop(Kind::text, "a name");
        push_name(pop(Kind::text, "a module").text, name.text);
        return true;
      }
      case kPersistentId:
        push_storage();
        return true;
      case kReduce:
        reduce();
        return true;
      default:
        return false;
    }
  }

  void push_global() {
    const std::string module = line();
    push_name(module, line());
  }
  /// A number of up to 8 bytes in two's complement.
  void push_long() {
    const size_t width = number(1);
    if (width > 8) damaged("has a number of more than 64 bits");
    const uint64_t raw = number(width);
    const bool negative = width > 0 && (raw >> (8 * width - 1) & 1) != 0;
    push_integer(static_cast<int64_t>(negative && width < 8 ? raw | ~uint64_t{0} << (8 * width) : raw));
  }

  std::string_view bytes_;
  std::string_view origin_;
  size_t position_ = 0;
  std::vector<Value> stack_;
  std::vector<size_t> marks_;
  std::map<uint64_t, Value> memo_;
};

}  // namespace

std::vector<PickledTensor> read_pickled_list(std::string_view pickle, std::string_view origin) {
  return Machine(pickle, origin).run();
}

}  // namespace jointtuner::adapter
