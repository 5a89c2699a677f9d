#include "src/adapter/pickle_list.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace jointtuner::adapter {
namespace {

const std::string kStart = "\x80\x02";
const std::string kMark = "(";
const std::string kBuildTensor = "ctorch._utils\n_rebuild_tensor_v2\n(";
const std::string kOrdered = "ccollections\nOrderedDict\n)R";

std::string text(const std::string& value) {
  return fmt::format("X{}{}{}", static_cast<char>(value.size()), std::string(3, '\0'), value);
}
std::string integer(int value) {
  return fmt::format("M{}{}", static_cast<char>(value & 255), static_cast<char>(value >> 8));
}

std::string storage(const std::string& type, int elements) {
  return kMark + text("storage") + "c" + type + "\n" + text("0") + text("cpu") + integer(elements) + "tQ";
}
/// A tensor [rows, columns] with these strides at `offset` of a storage of `elements`.
std::string matrix(int offset, int rows, int columns, int row_stride, int elements) {
  return kBuildTensor + storage("torch\nFloatStorage", elements) + integer(offset) + "(" + integer(rows) +
         integer(columns) + "t(" + integer(row_stride) + integer(1) + "t\x89" + kOrdered + "tR";
}
std::string list_of(const std::string& elements) { return kStart + "](" + elements + "e."; }

std::vector<PickledTensor> read(const std::string& pickle) { return read_pickled_list(pickle, "list.pt"); }

const std::vector<PickledTensor> kExamples = {
    {"0", at::kFloat, 6, 0, {2, 3}, {3, 1}},
    {"1", at::kHalf, 20, 4, {3, 4}, {5, 1}},
    {"1", at::kHalf, 20, 0, {2}, {1}},
    {"x/y", at::kBFloat16, 5'000'000'000, 4'000'000'000, {7}, {2}},
};

TEST(PickledList, WrittenThenReadIsTheIdentity) {
  EXPECT_EQ(read(pickled_parameter_list(kExamples)), kExamples);
  EXPECT_TRUE(read(pickled_parameter_list({})).empty());
}

TEST(PickledList, ReadsAHandWrittenPickle) {
  const auto tensors = read(list_of(matrix(2, 2, 3, 4, 12)));
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0], (PickledTensor{"0", at::kFloat, 12, 2, {2, 3}, {4, 1}}));
}

TEST(PickledList, RefusesEveryOtherNameWithoutExecutingIt) {
  for (const char* attack :
       {"cos\nsystem\n", "cposix\nsystem\n", "cbuiltins\neval\n", "c__builtin__\nexec\n", "ctorch\nload\n",
        "ctorch._utils\n_rebuild_tensor\n", "ctorch\nDoubleStorage\n", "c__torch__.x\nY\n", "csubprocess\nPopen\n"}) {
    const std::string call = kStart + attack + "(" + text("touch /tmp/attacked") + "tR.";
    EXPECT_ERROR(read(call), Error, "list.pt: expected a list of fp32 tensors, but the pickle asks for ", "refused",
                 "nothing of it was executed");
  }
  EXPECT_ERROR(read(kStart + "\x8c\x02os\x8c\x06system\x93."), Error, "asks for os.system");
  EXPECT_ERROR(read(kStart + "cos\nsys\x1btem\n."), Error, "asks for os.sys?tem");
}

TEST(PickledList, RefusesEveryInstructionThatAListDoesNotNeed) {
  for (const char code : {'i', 'o', 'b', 'P', '\x81', '\x82', '\x83', '\x84', '\x92', 'S',    'V',    'I',    'L', 'F',
                          'G', 'l', 'd', '0', '2',    '1',    'p',    'g',    '\x8b', '\x8f', '\x96', '\xff', '\0'}) {
    EXPECT_ERROR(read(kStart + "](" + code + "e."), Error, "has the instruction 0x", "refused");
  }
}

TEST(PickledList, RefusesOtherObjects) {
  EXPECT_ERROR(read(kStart + "N."), Error, "the pickle is None");
  EXPECT_ERROR(read(kStart + "K\x05."), Error, "the pickle is a number");
  EXPECT_ERROR(read(kStart + "}."), Error, "the pickle is a dictionary");
  EXPECT_ERROR(read(kStart + "}" + text("a") + "K\x01s."), Error, "is a dictionary (a state dict?)");
  EXPECT_ERROR(read(kStart + "](K\x01"
                             "e."),
               Error, "has a number as element 0 of its list");
  EXPECT_ERROR(read(kStart + "]]a."), Error, "has a list as element 0 of its list");
  EXPECT_ERROR(read(list_of(matrix(0, 1, 1, 1, 1) + "N")), Error, "has None as element 1 of its list");
  EXPECT_ERROR(read(kStart + "(K\x01t."), Error, "has a number in its tuple");
  EXPECT_ERROR(read(kStart + matrix(0, 1, 1, 1, 1) + "."), Error, "the pickle is a tensor");
  EXPECT_ERROR(read(kStart + "ccollections\nOrderedDict\n(K\x01tR."), Error, "calls collections.OrderedDict");
  EXPECT_ERROR(read(kStart + "ctorch\nFloatStorage\n)R."), Error, "calls torch.FloatStorage");
  EXPECT_ERROR(read(kStart + "K\x01)R."), Error, "has a number where what is called is a name");
  EXPECT_ERROR(read(kStart + "ctorch._utils\n_rebuild_parameter\n(K\x01\x88Nt"
                             "R."),
               Error, "builds a Parameter in an unknown way");
  EXPECT_ERROR(read(kStart + "ctorch._utils\n_rebuild_tensor_v2\n)R."), Error, "builds a tensor in an unknown way");
  EXPECT_ERROR(read(kStart + "(" + text("module") +
                    "t"
                    "Q."),
               Error, "describes a storage in an unknown way");
  EXPECT_ERROR(read("\x80\x63."), Error, "unknown protocol");
}

TEST(PickledList, RefusesTensorsOutsideTheirStorage) {
  EXPECT_EQ(read(list_of(matrix(0, 2, 3, 3, 6))).size(), 1u);
  for (const std::string& bad :
       {matrix(1, 2, 3, 3, 6), matrix(0, 2, 3, 4, 6), matrix(0, 3, 3, 3, 6), matrix(0, 3, 3, 0, 6),
        matrix(0, 0, 3, 3, 6), matrix(0, 60000, 60000, 3, 60000), matrix(0, 1, 1, 1, 0)}) {
    EXPECT_ERROR(read(list_of(bad)), Error, "list.pt: the pickle is damaged: it has a tensor that does not lie inside");
  }
  const std::string one = matrix(0, 2, 3, 3, 6);
  EXPECT_ERROR(read(list_of(one + one)), Error, "tensors that share elements of the storage 0");
  const std::string negative = "J\xff\xff\xff\xff";
  EXPECT_ERROR(
      read(kStart + "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + negative + "tQ."),
      Error, "storage of negative size");
}

TEST(PickledList, EveryTruncationIsAnError) {
  const std::string whole = pickled_parameter_list(kExamples);
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_ERROR(read(whole.substr(0, length)), Error, "list.pt: the pickle is damaged");
}

TEST(PickledList, DamagedStacksAreErrors) {
  EXPECT_ERROR(read(kStart + "t."), Error, "has no mark where one is needed");
  EXPECT_ERROR(read(kStart + "a."), Error, "takes from an empty stack");
  EXPECT_ERROR(read(kStart + "]]."), Error, "does not end with one object");
  EXPECT_ERROR(read(kStart + "]("), Error, "ends too early");
  EXPECT_ERROR(read(kStart + "](."), Error, "does not end with one object");
  EXPECT_ERROR(read(kStart + "h\x05."), Error, "recalls a value that was never remembered");
  EXPECT_ERROR(read(kStart + "q\x05."), Error, "remembers a value that is not there");
  EXPECT_ERROR(read(kStart + "cos"), Error, "ends inside a name");
  EXPECT_ERROR(read(kStart + "\x8a\x09"
                             "123456789."),
               Error, "a number of more than 64 bits");
}

TEST(PickledList, BombsAreRefused) {
  EXPECT_ERROR(read(kStart + std::string(20, ')') + std::string(100, '\x85') + "."), Error,
               "nests tuples more than 8 deep");
  EXPECT_ERROR(read(std::string(5'000'000, 'N')), Error, "is larger than any list of adapters needs");
  std::string many = kStart + "](" + matrix(0, 1, 1, 1, 1) + std::string("q\0", 2);
  for (int i = 0; i < 100'000; ++i) many += std::string("h\0", 2);  // the same tensor again
  EXPECT_ERROR(read(many + "e."), Error, "lists more than 100000 tensors");
  EXPECT_ERROR(read(kStart + "X\xff\xff\xff\x7f"), Error, "has a text of 2147483647 bytes");
  EXPECT_ERROR(read(kStart + "c" + std::string(2000, 'a') + "\nb\n."), Error, "has a text of 2000 bytes");
}

/// A list of one tensor [size] of a storage of `storage_size`; numbers as instructions.
std::string vector_list(const std::string& storage_size, const std::string& offset, const std::string& size,
                        const std::string& stride) {
  return list_of(kBuildTensor + kMark + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") +
                 storage_size + "tQ" + offset + "(" + size + "t(" + stride + "t\x89" + kOrdered + "tR");
}

TEST(PickledList, NumbersHaveASign) {
  const std::string six = integer(6), one = "K\x01";
  EXPECT_EQ(read(vector_list(six, std::string("\x8a\0", 2), six, one)).at(0).offset, 0);
  EXPECT_EQ(read(vector_list(six, "\x8a\x01\x02", "\x8a\x01\x04", one)).at(0).sizes, std::vector<int64_t>{4});
  EXPECT_EQ(read(vector_list(six, std::string("\x8a\x02\x05\0", 4), one, one)).at(0).offset, 5);
  const std::string outside = "a tensor that does not lie inside its storage";
  for (const std::string minus_one : {"\x8a\x01\xff", "\x8a\x02\xff\xff", "J\xff\xff\xff\xff"}) {
    EXPECT_ERROR(read(vector_list(six, minus_one, integer(2), one)), Error, outside);
    EXPECT_ERROR(read(vector_list(six, integer(5), six, minus_one)), Error, outside);
    EXPECT_ERROR(read(vector_list(six, integer(5), minus_one, one)), Error, outside);
    EXPECT_ERROR(read(vector_list(minus_one, integer(0), one, one)), Error, "a storage of negative size");
  }
  EXPECT_ERROR(read(vector_list(six, integer(5), integer(0), integer(3))), Error, outside);
}

}  // namespace
}  // namespace jointtuner::adapter
