#include "jointtuner/cli/program.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "commands.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/log.h"
#include "jointtuner/base/memory_allocator.h"
#include "jointtuner/base/nearest.h"

namespace jointtuner::cli {
namespace {

enum ExitCode { kDone = 0, kFailed = 1, kUsage = 2, kInterrupted = 130 };

constexpr const char* kAbout =
    "Customizes a frozen text-to-video model: tunes small gated adapters on pictures of a subject and clips of a "
    "motion in one run, then samples videos of that subject doing that motion.";
constexpr const char* kExamples =
    "Examples:\n"
    "  jointtuner check  --config configs/zeroscope_joint.json\n"
    "  jointtuner train  --config configs/zeroscope_joint.json\n"
    "  jointtuner sample --run runs/zeroscope_joint --prompt \"a corgi is skateboarding on the moon\"\n"
    "\n"
    "Results go to stdout, progress and logs to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or config,\n"
    "130 stopped by Ctrl-C with everything put away.";

void describe(CLI::App& app) {
  app.name("jointtuner");
  app.set_version_flag("--version", program_version(), "Print the version and exit");
  app.require_subcommand(1);
  app.footer(kExamples);
  app.get_formatter()->column_width(36);
  add_check(app);
  add_train(app);
  add_sample(app);
  add_decode(app);
  add_inspect(app);
  add_convert(app);
  add_doctor(app);
}

/// The command that was reached; app itself when none was named.
const CLI::App& reached(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : reached(*parsed.front());
}

/// Names of what could have been meant: the command's options, or its commands.
std::vector<std::string> known_names(const CLI::App& command, bool option) {
  std::vector<std::string> names;
  if (!option) {
    for (const CLI::App* known : command.get_subcommands(nullptr)) names.push_back(known->get_name());
    return names;
  }
  for (const CLI::Option* known : command.get_options())
    for (const std::string& name : known->get_lnames()) names.push_back("--" + name);
  return names;
}

/// What CLI11 says, with the nearest known name for the first word that it did not know.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = reached(app);
  std::string help = "see jointtuner ";
  for (const CLI::App* a = &app; a != &command; help += a->get_name() + " ") a = a->get_subcommands().front();
  help += "--help";
  const std::vector<std::string> unknown = app.remaining(true);
  if (unknown.empty()) return fmt::format("{}; {}", error.what(), help);
  const std::string word = unknown.front().substr(0, unknown.front().find('='));
  const bool option = word.starts_with("-");
  const std::string near = nearest(word, known_names(command, option));
  const bool names_command = !command.get_subcommands(nullptr).empty();
  const std::string_view kind = option ? "option" : names_command ? "command" : "argument";
  return fmt::format("unknown {} {}{}; {}", kind, word, near.empty() ? "" : fmt::format("; did you mean {}?", near),
                     help);
}

/// LibTorch's message without its backtraces: of a TorchScript error, which quotes the traced Python code first, what
/// the failing operator says, which comes last.
std::string torch_message(const c10::Error& error) {
  std::string text = error.what_without_backtrace();
  if (const size_t at = text.rfind("RuntimeError: "); at != std::string::npos) text = text.substr(at);
  text.erase(text.find_last_not_of(" \n") + 1);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

int report(ExitCode code, const std::string& message) {
  log_error(message);
  return code;
}

}  // namespace

const char* program_version() { return "jointtuner " JOINTTUNER_VERSION; }

int run(int argc, char** argv) {
  tune_memory_allocator();
  CLI::App app{kAbout};
  try {
    describe(app);
    app.parse(argc, argv);
    return kDone;
  } catch (const CLI::Success& asked_for) {  // --help, --version
    return app.exit(asked_for);
  } catch (const CLI::ParseError& error) {
    return report(kUsage, usage_message(app, error));
  } catch (const UsageError& error) {
    return report(kUsage, error.what());
  } catch (const Interrupted& error) {
    log_warning(error.what());
    return kInterrupted;
  } catch (const Error& error) {
    return report(kFailed, error.what());
  } catch (const c10::OutOfMemoryError& error) {
    return report(
        kFailed,
        fmt::format("the device is out of memory: {}. Smaller frames, fewer frames, "
                    "train.activation_checkpointing (on, or offload), or --decode-slice 1 and --decode-tile need less",
                    torch_message(error)));
  } catch (const c10::Error& error) {
    return report(kFailed, torch_message(error));
  } catch (const std::bad_alloc&) {
    return report(kFailed, "out of memory; smaller or fewer frames, or --decode-slice 1 and --decode-tile, need less");
  } catch (const std::exception& error) {
    return report(kFailed, error.what());
  }
}

}  // namespace jointtuner::cli
