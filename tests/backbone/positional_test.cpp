// Against CogVideoXPatchEmbed and CogVideoXPipeline of diffusers: tests/goldens/make/positional.py.
#include "jointtuner/backbone/positional.h"

#include <ATen/TensorOperators.h>
#include <ATen/Version.h>
#include <ATen/ops/arange.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "jointtuner/base/error.h"
#include "jointtuner/base/safetensors.h"
#include "support/expect_error.h"

namespace jointtuner::backbone {
namespace {

using Size = std::array<int64_t, 3>;  // latent frames, height, width

struct Model {
  const char* name;
  PositionalManifest positional;
  std::vector<Size> sizes;
  bool whole;  ///< the golden file holds whole tables, not rows and sums
};

/// The first size of each is the model's own. With a base of 4 x 6 patches the others make halves that Python rounds to
/// even: 5 x 8 tokens give 2.5 columns, 7 x 8 give 3.5, and 5 or 3 columns leave margins of 0.5 and 1.5.
const std::vector<Size> kSizes{{3, 8, 12}, {1, 8, 12},  {5, 12, 8}, {13, 10, 10}, {3, 6, 20}, {1, 16, 10},
                               {5, 8, 10}, {1, 16, 14}, {3, 8, 6},  {1, 2, 30},   {1, 24, 36}};
const std::vector<Size> kSlices{{2, 24, 36}, {4, 8, 12}, {6, 12, 8}, {14, 10, 10},
                                {2, 6, 20},  {4, 2, 2},  {2, 24, 2}, {6, 4, 36}};
const std::vector<Size> kFull{{13, 60, 90}, {5, 48, 86}, {1, 96, 60}};

const Rope3d kRope{16, 10000, 2, 1, "resize", 4, 6}, kSlice{16, 10000, 2, 2, "slice", 12, 18};

const std::vector<Model> kModels{
    {"sincos", Sincos3d{32, 2, 1.875, 1}, kSizes, true},
    {"sincos_scaled", Sincos3d{16, 1, 0.7, 3}, {{3, 4, 6}, {5, 3, 7}}, true},
    {"sincos_2b", Sincos3d{1920, 2, 1.875, 1}, kFull, false},
    {"rope", kRope, kSizes, true},
    {"rope_slice", kSlice, kSlices, true},
    {"rope_5b", Rope3d{64, 10000, 2, 1, "resize", 30, 45}, kFull, false},
    {"rope_15", Rope3d{64, 10000, 2, 2, "slice", 150, 150}, {{22, 96, 170}, {2, 300, 300}}, false}};

const Safetensors& goldens() {
  static const Safetensors file =
      load_safetensors(std::filesystem::path(JOINTTUNER_TEST_DATA) / "goldens/backbone/positional.safetensors");
  return file;
}

double largest_difference(const Tensor& found, const Tensor& expected) {
  return (found.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

/// ATen's AVX2 and AVX-512 kernels make the goldens' bits. Elsewhere the grid positions in between (linspace) round
/// differently, by up to 1 ulp of 44: the tables then differ by 5e-7.
bool golden_kernels() { return at::get_cpu_capability().starts_with("AVX"); }

double tolerance() { return golden_kernels() ? 0 : 2e-6; }

/// Rows and weighted column sums of a table, as the golden script takes them.
void expect_rows_and_sums(const Tensor& table, const std::string& key) {
  const int64_t count = table.size(0);
  const Tensor rows = at::arange(8, at::TensorOptions().dtype(at::kLong)) * (count - 1);
  EXPECT_LE(largest_difference(table.index_select(0, rows.floor_divide(7)), goldens().at(key + "/rows")), tolerance())
      << key;
  const Tensor weights = (at::arange(count, at::TensorOptions().dtype(at::kDouble)) * 1.7 + 0.5).sin();
  // Sums of 17,550 to 88,000 numbers in float64, in an order that the matrix product chooses.
  EXPECT_LT(largest_difference(weights.matmul(table.to(at::kDouble)), goldens().at(key + "/sums")),
            golden_kernels() ? 1e-9 : 1e-4)
      << key;
}

/// Bit for bit: the same ATen kernels in the same order.
TEST(Positional, EqualsDiffusersAtEverySize) {
  std::set<std::string> unused;
  for (const auto& [key, tensor] : goldens().tensors) unused.insert(key);
  for (const Model& model : kModels) {
    for (const auto& [frames, height, width] : model.sizes) {
      const auto inputs = positional_inputs(model.positional, frames, height, width);
      EXPECT_EQ(inputs.size(), std::holds_alternative<Sincos3d>(model.positional) ? 1U : 2U);
      for (const auto& [role, table] : inputs) {
        const std::string key = fmt::format("{}/{}x{}x{}/{}", model.name, frames, height, width, role);
        ASSERT_EQ(table.scalar_type(), at::kFloat);
        ASSERT_TRUE(table.is_contiguous());
        if (model.whole) {
          ASSERT_EQ(table.sizes(), goldens().at(key).sizes()) << key;
          EXPECT_LE(largest_difference(table, goldens().at(key)), tolerance()) << key;
          unused.erase(key);
        } else {
          expect_rows_and_sums(table, key);
          unused.erase(key + "/rows");
          unused.erase(key + "/sums");
        }
      }
    }
  }
  EXPECT_TRUE(unused.empty()) << unused.size() << " goldens are not looked at, the first is " << *unused.begin();
}

TEST(Positional, RolesAndNothingForNone) {
  EXPECT_TRUE(positional_inputs(NoPositional{}, 1, 7, 9).empty());
  EXPECT_EQ(positional_inputs(kModels[0].positional, 1, 8, 12).begin()->first, "positional_table");
  const auto rope = positional_inputs(kRope, 1, 8, 12);
  EXPECT_TRUE(rope.contains("rope_cos") && rope.contains("rope_sin"));
}

TEST(Positional, ByHand) {
  // Width 16: 4 numbers of the frame, 6 of the column, 6 of the row; token 3 of 2 x 2 is row 1, column 1, frame 0.
  const Tensor table = positional_inputs(Sincos3d{16, 1, 2, 1}, 1, 2, 2).at("positional_table");
  EXPECT_FLOAT_EQ(table[3][4].item<float>(), std::sin(0.5F));
  EXPECT_FLOAT_EQ(table[3][7].item<float>(), std::cos(0.5F));
  EXPECT_FLOAT_EQ(table[1][4].item<float>(), std::sin(0.5F));  // token 1: column 1, row 0
  EXPECT_EQ(table[1][10].item<float>(), 0);
  EXPECT_EQ(table[2][4].item<float>(), 0);
  EXPECT_FLOAT_EQ(table[2][10].item<float>(), std::sin(0.5F));
  // Head size 16: 4 of the frame, 6 of the row, 6 of the column, each angle twice.
  const Tensor sines = positional_inputs(Rope3d{16, 10000, 1, 1, "slice", 2, 2}, 1, 2, 2).at("rope_sin");
  EXPECT_FLOAT_EQ(sines[1][10].item<float>(), std::sin(1.0F));
  EXPECT_FLOAT_EQ(sines[1][11].item<float>(), std::sin(1.0F));
  EXPECT_EQ(sines[1][4].item<float>(), 0);
  EXPECT_FLOAT_EQ(sines[2][5].item<float>(), std::sin(1.0F));
}

TEST(Positional, ErrorsNameTheSizesThatFit) {
  EXPECT_ERROR(positional_inputs(kRope, 1, 9, 12), Error, "a height divisible by 2", "found 9", "8 and 10");
  EXPECT_ERROR(positional_inputs(kRope, 1, 8, 1), Error, "a width divisible by 2", "found 1", "nearest are 2");
  EXPECT_ERROR(positional_inputs(kSlice, 5, 8, 12), Error, "a number of frames divisible by 2", "found 5", "4 and 6");
  EXPECT_ERROR(positional_inputs(kSlice, 2, 26, 12), Error, "at most 24 x 36", "found 26 x 12");
  EXPECT_ERROR(positional_inputs(kSlice, 2, 24, 38), Error, "at most 24 x 36", "found 24 x 38");
  EXPECT_ERROR(positional_inputs(Sincos3d{40, 2, 1, 1}, 1, 8, 8), Error, "positional.width", "multiple of 16", "40");
  EXPECT_ERROR(positional_inputs(Rope3d{8, 10000, 2, 1, "resize", 4, 6}, 1, 8, 8), Error, "positional.head_dim", "8");
  EXPECT_ERROR(positional_inputs(kRope, 0, 8, 8), Error, "frames", "found 0");
}

}  // namespace
}  // namespace jointtuner::backbone
