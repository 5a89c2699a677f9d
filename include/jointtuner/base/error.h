// Errors that end a command: cli::run prints the message and picks the exit code. Others catch them to say more, to do
// without, or to go on looking.
// A message says what was expected, what was found, where (file, JSON path, site, clip) and what to do.
#pragma once
#include <stdexcept>
#include <string>

namespace jointtuner {

/// Something failed: exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command line or the config is wrong: exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// The user pressed Ctrl-C and the work was put away safely: exit code 130.
class Interrupted : public Error {
 public:
  using Error::Error;
};

/// The device or the host has no memory left for what was asked: exit code 1 if nobody asks for less.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

}  // namespace jointtuner
