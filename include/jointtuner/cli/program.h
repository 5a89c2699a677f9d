// The command line: `jointtuner COMMAND ...`; program.cpp lists the commands.
#pragma once
namespace jointtuner::cli {

/// Parses the command line, runs the command and returns the process's exit code: 0 done, 1 failure, 2 wrong usage or
/// config, 130 stopped by Ctrl-C with everything put away. Messages of exceptions go to stderr, of LibTorch's without
/// backtrace. Results go to stdout, logs and progress to stderr.
int run(int argc, char** argv);

}  // namespace jointtuner::cli
