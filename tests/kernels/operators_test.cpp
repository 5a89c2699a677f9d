// What every operator must have, whichever it is: one that lacks a backend's kernel runs its composition without a
// word.
#include <ATen/core/dispatch/Dispatcher.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace jointtuner::kernels {
namespace {

/// The project's operators and steps of operators that have no kernel of their own for a key.
std::vector<std::string> without(c10::DispatchKey key) {
  std::vector<std::string> names;
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getAllOpNames())
    if (name.name.rfind("jointtuner::", 0) == 0 && !dispatcher.findOp(name)->hasKernelForDispatchKey(key))
      names.push_back(name.name);
  return names;
}

TEST(Operators, EachIsDefinedByAComposition) {
  EXPECT_THAT(without(c10::DispatchKey::CompositeExplicitAutograd), testing::IsEmpty());
}

/// glora_linear has its steps.
TEST(Operators, EachHasAKernelForTheCpuAndForMetaTensors) {
  EXPECT_THAT(without(c10::DispatchKey::CPU), testing::ElementsAre("jointtuner::glora_linear"));
  EXPECT_THAT(without(c10::DispatchKey::Meta), testing::ElementsAre("jointtuner::glora_linear"));
}

}  // namespace
}  // namespace jointtuner::kernels
