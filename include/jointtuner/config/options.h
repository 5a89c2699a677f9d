// What a run is called and where it runs: the `run` section of a run config.
#pragma once
#include <cstdint>
#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::config {

struct RunOptions {
  std::string name;
  std::string output = "runs";
  int64_t seed = 0;
  std::string device = "auto";
  int64_t threads = 0;
  std::string memory;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("name", o.name, "name of the run: its folder below `output`; \"\" = the config file's name");
    field("output", o.output, "folder that holds the folders of runs; relative to the current directory");
    field("seed", o.seed, "seed of every random draw of the run", Range{0, 9007199254740992.0});
    field("device", o.device, "auto (a GPU if there is one), cpu, cuda or cuda:N");
    field("threads", o.threads, "CPU threads; 0 = as many as the machine offers", Range{0, 1024});
    field("memory", o.memory,
          "memory that the run may take, as in 24GiB or 24000MiB: one that is forecast to need more is refused; \"\" = "
          "what the GPU has free");
  }
};

}  // namespace jointtuner::config
