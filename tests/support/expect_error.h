// EXPECT_ERROR(statement, type, "part", ...): the statement throws `type` and its message holds every part.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "jointtuner/base/error.h"

namespace jointtuner::testing {

inline void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_THAT(message, ::testing::HasSubstr(part));
}

}  // namespace jointtuner::testing

#define EXPECT_ERROR(statement, type, ...)                              \
  do {                                                                  \
    try {                                                               \
      statement;                                                        \
      ADD_FAILURE() << #statement " threw nothing, expected " #type;    \
    } catch (const type& error) {                                       \
      ::jointtuner::testing::expect_parts(error.what(), {__VA_ARGS__}); \
    }                                                                   \
  } while (false)
