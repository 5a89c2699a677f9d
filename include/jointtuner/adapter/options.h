// What a run's adapters are: the `adapter` section of a run config.
#pragma once
#include <cstdint>
#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::adapter {

struct AdapterOptions {
  int64_t rank = 32;
  double scale = 1.0;
  double dropout = 0.1;
  bool gate = true;
  std::string gate_pooling = "sample";

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("rank", o.rank,
          "rank R of lora_down [R,K] and lora_up [M,R]; at most the smaller side of every adapted linear",
          Range{1, 8192});
    field("scale", o.scale, "factor on every adapter's update while training", Range{-100, 100});
    field("dropout", o.dropout, "probability that an element of the update is dropped while training", Range{0, 0.99});
    field("gate", o.gate, "true: GLoRA, each update is multiplied by a learnt gate; false: plain LoRA");
    field("gate_pooling", o.gate_pooling,
          "tokens that share one gate: sample = those of one sample; batch = all of the batch, as the published code",
          Choices{"sample", "batch"});
  }
};

}  // namespace jointtuner::adapter
