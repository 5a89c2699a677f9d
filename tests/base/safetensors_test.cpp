#include "jointtuner/base/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner {
namespace {

using testing::TemporaryFolder;

/// A file with this header and `bytes` bytes of data.
void write_raw(const std::filesystem::path& path, const std::string& header, size_t bytes) {
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  write_atomically(path, file + header + std::string(bytes, 'x'));
}

TEST(Safetensors, ReadsTheReferenceImplementationsFile) {
  const Safetensors file = load_safetensors(testing::golden("base/types.safetensors"));
  const at::Tensor index = at::arange(24, at::kLong);
  EXPECT_TRUE(at::equal(file.at("f32"), index.div(7.0).to(at::kFloat).reshape({2, 3, 4})));
  EXPECT_TRUE(at::equal(file.at("f16"), index.div(8.0).to(at::kHalf)));
  EXPECT_TRUE(at::equal(file.at("bf16"), index.div(4.0).to(at::kBFloat16)));
  EXPECT_TRUE(at::equal(file.at("i64"), index.mul(1000000000000)));
  EXPECT_TRUE(at::equal(file.at("u8"), index.to(at::kByte)));
  EXPECT_TRUE(at::equal(file.at("bool"), index.remainder(2).eq(0)));
  EXPECT_EQ(file.at("empty").sizes(), (at::IntArrayRef{0, 3}));
  EXPECT_EQ(file.at("scalar").item<float>(), 2.5F);
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"a", "one ü"}, {"b", "two"}}));
}

TEST(Safetensors, WriteThenReadIsTheIdentityAndBytesRepeat) {
  const TemporaryFolder folder;
  const Safetensors original = load_safetensors(testing::golden("base/types.safetensors"));
  save_safetensors(folder / "a.safetensors", original);
  save_safetensors(folder / "b.safetensors", load_safetensors(folder / "a.safetensors"));
  const Safetensors copy = load_safetensors(folder / "b.safetensors");
  ASSERT_EQ(copy.tensors.size(), original.tensors.size());
  for (const auto& [name, tensor] : original.tensors) {
    EXPECT_EQ(copy.at(name).scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(at::equal(copy.at(name), tensor)) << name;
  }
  EXPECT_EQ(copy.metadata, original.metadata);
  EXPECT_EQ(read_file(folder / "a.safetensors"), read_file(folder / "b.safetensors"));
}

TEST(Safetensors, StridedTensorsAreStoredByValue) {
  const TemporaryFolder folder;
  const at::Tensor turned = at::arange(6, at::kFloat).reshape({2, 3}).t();
  save_safetensors(folder / "t.safetensors", {{{"t", turned}}, {}});
  EXPECT_TRUE(at::equal(load_safetensors(folder / "t.safetensors").at("t"), turned));
}

TEST(Safetensors, HeaderAloneHasShapesAndNoData) {
  const Safetensors header = load_safetensors_header(testing::golden("base/types.safetensors"));
  EXPECT_TRUE(header.at("f32").is_meta());
  EXPECT_EQ(header.at("f32").sizes(), (at::IntArrayRef{2, 3, 4}));
}

TEST(Safetensors, DamagedFilesAreNamedErrors) {
  const TemporaryFolder folder;
  const auto path = folder / "bad.safetensors";
  EXPECT_ERROR(load_safetensors(path), Error, "bad.safetensors", "cannot be opened");
  write_atomically(path, "short");
  EXPECT_ERROR(load_safetensors(path), Error, "bad.safetensors", "not a safetensors file");
  const std::string whole = read_file(testing::golden("base/types.safetensors"));
  write_atomically(path, whole.substr(0, whole.size() - 1));
  EXPECT_ERROR(load_safetensors(path), Error, "truncated");
  write_raw(path, R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4);
  EXPECT_ERROR(load_safetensors(path), Error, "'a'", "needs 8 bytes");
  write_raw(path, R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4);
  EXPECT_ERROR(load_safetensors(path), Error, "unknown dtype 'F33'");
  write_raw(path, R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4);
  EXPECT_ERROR(load_safetensors(path), Error, "bad.safetensors");
  write_raw(path, R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8);
  EXPECT_ERROR(load_safetensors(path), Error, "overlap or hole");
  write_raw(path, R"({"a":{"shape":[1]}})", 4);
  EXPECT_ERROR(load_safetensors(path), Error, "malformed");
  write_raw(path, R"([1, 2])", 0);
  EXPECT_ERROR(load_safetensors(path), Error, "no JSON object");
}

TEST(Safetensors, AMissingTensorAndATwiceUsedNameAreErrors) {
  const TemporaryFolder folder;
  const Safetensors file{{{"a", at::zeros({1})}, {"a", at::zeros({1})}}, {}};
  EXPECT_ERROR(file.at("b"), Error, "'b'");
  EXPECT_ERROR(save_safetensors(folder / "x.safetensors", file), Error, "two tensors are named 'a'");
}

}  // namespace
}  // namespace jointtuner
