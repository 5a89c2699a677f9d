#include "jointtuner/adapter/published_list.h"

#include <caffe2/serialize/inline_container.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <memory>

#include "jointtuner/base/atomic_file.h"
#include "list_tensors.h"
#include "src/adapter/pickle_list.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace jointtuner::adapter {
namespace {

namespace fs = std::filesystem;
using testing::golden;
using testing::TemporaryFolder;

std::vector<Tensor> load(const char* name) { return load_published_list(golden("adapter") / name); }

/// What a command prints, and its exit status.
std::pair<std::string, int> output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output += static_cast<char>(c);
  return {output, ::pclose(pipe)};
}

TEST(PublishedList, ReadsWhatPythonWrites) {
  EXPECT_TRUE(same(load("published_list.pt"), list_tensors()));
  EXPECT_TRUE(same(load("published_protocol4.pt"), list_tensors()));
  EXPECT_TRUE(same(load("published_half.pt"), list_tensors()));
  EXPECT_TRUE(same(load("strided_views.pt"), list_tensors()));
  EXPECT_TRUE(same(load("published_ungated.pt"), list_tensors(false)));
}

TEST(PublishedList, TensorsOwnTheirMemory) {
  const auto tensors = load("strided_views.pt");
  for (const Tensor& tensor : tensors) EXPECT_TRUE(tensor.is_contiguous());
  tensors[0].fill_(0);
  EXPECT_TRUE(same(tensors[1], list_tensors()[1]));
}

TEST(PublishedList, BecomesAdaptersOfTheSites) {
  const AdapterSet gated = match_published_list(list_tensors(), list_sites(), "list.pt", at::kCPU);
  EXPECT_EQ(gated.rank(), kListRank);
  EXPECT_TRUE(gated.gated());
  EXPECT_TRUE(at::equal(gated.flat(), list_adapters().flat()));
  const AdapterSet plain = match_published_list(list_tensors(false), list_sites(), "list.pt", at::kCPU);
  EXPECT_FALSE(plain.gated());
  EXPECT_TRUE(at::equal(plain.flat(), list_adapters(false).flat()));
}

TEST(PublishedList, WrittenThenReadIsTheIdentity) {
  const TemporaryFolder folder;
  AdapterSet adapters = list_adapters();
  adapters.set_requires_grad(true);
  save_published_list(folder / "list.pt", adapters);
  EXPECT_TRUE(same(load_published_list(folder / "list.pt"), list_tensors()));
  save_published_list(folder / "other name.pt", adapters);
  EXPECT_EQ(read_file(folder / "list.pt"), read_file(folder / "other name.pt"));
  save_published_list(folder / "plain.pt", list_adapters(false));
  EXPECT_TRUE(same(load_published_list(folder / "plain.pt"), list_tensors(false)));
}

TEST(PublishedList, PythonReadsWhatIsWritten) {
  const std::string source = JOINTTUNER_SOURCE_DIR;
  auto [python, status] = output_of("'" + source + "/scripts/setup.sh' --print-python 2>/dev/null");
  if (status != 0) GTEST_SKIP() << "the exporter's Python is not installed (scripts/setup.sh --export)";
  while (!python.empty() && python.back() == '\n') python.pop_back();
  const TemporaryFolder folder;
  save_published_list(folder / "list.pt", list_adapters());
  const auto [output, result] =
      output_of("cd '" + source + "' && '" + python + "' -m tests.goldens.make.published_list --check '" +
                (folder / "list.pt").string() + "' 2>&1");
  EXPECT_EQ(result, 0) << output;
  EXPECT_EQ(output, "equal\n");
}

TEST(PublishedList, NeverExecutesAPickle) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  EXPECT_ERROR((void)load("attack.pt"), Error,
               "attack.pt: expected a list of fp32 tensors, but the pickle asks for posix.system",
               "it was refused and nothing of it was executed");
  EXPECT_FALSE(fs::exists("JOINTTUNER_WAS_ATTACKED"));
  fs::current_path(before);
}

TEST(PublishedList, RefusesOtherFiles) {
  EXPECT_ERROR((void)load("legacy.pt"), Error, "legacy.pt: is in torch.save's format before PyTorch 1.6",
               "torch.save(torch.load(\"", "weights_only=True)");
  EXPECT_ERROR((void)load("state_dict.pt"), Error, "is a dictionary (a state dict?)");
  EXPECT_ERROR((void)load("nested.pt"), Error, "has a list as element 0 of its list");
  EXPECT_ERROR((void)load("double.pt"), Error, "asks for torch.DoubleStorage");
  EXPECT_ERROR((void)load("nan.pt"), Error, "nan.pt: tensor 4 of the list, [3, 4], holds a NaN or an infinity");
  EXPECT_ERROR((void)load("initialize.safetensors"), Error, "expected a file of torch.save (a zip archive)");
  EXPECT_ERROR((void)load("absent.pt"), Error, "absent.pt: expected a published adapter list (.pt)");
  EXPECT_ERROR((void)load_published_list(golden("adapter")), Error, "expected a published adapter list (.pt)");
  const TemporaryFolder folder;
  write_atomically(folder / "empty.pt", "");
  EXPECT_ERROR((void)load_published_list(folder / "empty.pt"), Error, "expected a file of torch.save");
}

TEST(PublishedList, EveryTruncationIsAnError) {
  const TemporaryFolder folder;
  const std::string whole = read_file(golden("adapter/published_list.pt"));
  for (size_t length = 0; length < whole.size(); length += 13) {
    write_atomically(folder / "cut.pt", whole.substr(0, length));
    EXPECT_ERROR((void)load_published_list(folder / "cut.pt"), Error, "cut.pt: ");
  }
}

TEST(PublishedList, RefusesAnArchiveWhosePartsDisagree) {
  const TemporaryFolder folder;
  const auto load_with = [&](const std::string& order, size_t data_bytes) {
    caffe2::serialize::PyTorchStreamWriter writer((folder / "list.pt").string());
    const std::string pickle = pickled_parameter_list({{"0", at::kFloat, 6, 0, {2, 3}, {3, 1}}});
    const std::string data(data_bytes, '\0');
    writer.writeRecord("data.pkl", pickle.data(), pickle.size());
    writer.writeRecord("byteorder", order.data(), order.size());
    writer.writeRecord("data/0", data.data(), data.size());
    writer.writeEndOfFile();
    return load_published_list(folder / "list.pt").size();
  };
  EXPECT_EQ(load_with("little", 24), 1u);
  EXPECT_ERROR(load_with("little", 20), Error, "list.pt: damaged: expected 24 bytes in its record data/0, found 20");
  EXPECT_ERROR(load_with("little", 28), Error, "expected 24 bytes in its record data/0, found 28");
  EXPECT_ERROR(load_with("big", 24), Error, "list.pt: expected little-endian numbers, found \"big\"");
}

TEST(PublishedList, RefusesTensorsThatDoNotFitTheSites) {
  const auto match = [](std::vector<Tensor> tensors) {
    (void)match_published_list(tensors, list_sites(), "list.pt", at::kCPU);
  };
  auto tensors = list_tensors();
  tensors.pop_back();
  EXPECT_ERROR(match(tensors), Error, "list.pt: expected 6 tensors", "the backbone's 2 sites, found 5");
  EXPECT_ERROR(match({}), Error, "expected 6 tensors", "found 0");
  tensors = list_tensors();
  tensors[3] = list_tensor(0, 9, kListRank);
  EXPECT_ERROR(match(tensors), Error, "list.pt: tensor 3, mid_block.ff.net.2.lora_up",
               "expected shape [10, 3], found [9, 3]");
  tensors = list_tensors();
  std::swap(tensors[1], tensors[4]);
  EXPECT_ERROR(match(tensors), Error, "down_blocks.0.attn1.to_q.lora_down", "expected shape [3, 6], found [3, 4]");
  tensors = list_tensors();
  tensors[2] = tensors[2].t();
  EXPECT_ERROR(match(tensors), Error, "down_blocks.0.attn1.to_q.lora_gate", "expected shape [1, 6], found [6, 1]");
  tensors = list_tensors();
  tensors[0] = tensors[0].flatten();
  EXPECT_ERROR(match(tensors), Error, "expected a matrix [M,R] as first tensor (lora_up of down_blocks.0.attn1.to_q)");
}

}  // namespace
}  // namespace jointtuner::adapter
