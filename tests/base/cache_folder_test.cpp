#include "jointtuner/base/cache_folder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace jointtuner {
namespace {

/// Sets a variable of the environment, or takes it away, and restores it.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~Variable() { set(old_ ? old_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) {
    if (value != nullptr)
      ::setenv(name_, value, 1);
    else
      ::unsetenv(name_);
  }
  const char* name_;
  std::optional<std::string> old_;
};

TEST(CacheFolder, IsTheUsersAndHasTheProgramsName) {
  const Variable cache("XDG_CACHE_HOME", "/caches"), home("HOME", "/people/a");
  EXPECT_EQ(user_cache_folder(), "/caches/jointtuner");
  const Variable none("XDG_CACHE_HOME", "");
  EXPECT_EQ(user_cache_folder(), "/people/a/.cache/jointtuner");
  const Variable homeless("HOME", nullptr);
  EXPECT_TRUE(user_cache_folder().empty());
}

}  // namespace
}  // namespace jointtuner
