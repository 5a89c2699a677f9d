// One function a subcommand: it describes its options to `app` and sets what runs once they are parsed.
#pragma once
namespace CLI {

class App;

}

namespace jointtuner::cli {

void add_train(CLI::App& app);
void add_sample(CLI::App& app);
void add_check(CLI::App& app);
void add_decode(CLI::App& app);
void add_inspect(CLI::App& app);
void add_convert(CLI::App& app);
void add_doctor(CLI::App& app);

/// "jointtuner 0.1.0"
const char* program_version();

}  // namespace jointtuner::cli
