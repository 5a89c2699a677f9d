// How a run trains: the `train` and `preview` sections of a run config.
#pragma once
#include <cstdint>
#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::train {

struct TrainOptions {
  int64_t steps = 2000;
  int64_t batch = 1;
  int64_t accumulation = 1;
  double learning_rate = 5e-4;
  std::string learning_rate_schedule = "constant";
  int64_t warmup_steps = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-4;
  double gradient_clip = 0.0;
  int64_t checkpoint_every = 500;
  int64_t keep_checkpoints = 0;
  std::string activation_checkpointing = "on";

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("steps", o.steps, "optimiser steps of the run", Range{1, 1e9});
    field("batch", o.batch, "items of a micro-batch", Range{1, 4096});
    field("accumulation", o.accumulation, "micro-batches whose gradients are averaged into one optimiser step",
          Range{1, 4096});
    field("learning_rate", o.learning_rate, "AdamW learning rate after the warm-up", Range{0, 10});
    field("learning_rate_schedule", o.learning_rate_schedule,
          "after the warm-up: constant, or falling to 0 at the last step, linear or as a half cosine",
          Choices{"constant", "linear", "cosine"});
    field("warmup_steps", o.warmup_steps, "steps over which the learning rate rises from 0; at most train.steps",
          Range{0, 1e9});
    field("beta1", o.beta1, "AdamW decay of the mean gradient; below 1", Range{0, 1});
    field("beta2", o.beta2, "AdamW decay of the mean squared gradient; below 1", Range{0, 1});
    field("epsilon", o.epsilon, "AdamW epsilon; above 0", Range{0, 1});
    field("weight_decay", o.weight_decay, "AdamW decoupled weight decay", Range{0, 10});
    field("gradient_clip", o.gradient_clip, "largest L2 norm of the gradient; 0 = no clipping", Range{0, 1e9});
    field("checkpoint_every", o.checkpoint_every,
          "steps between checkpoints; the last step always writes one; 0 = only that", Range{0, 1e9});
    field("keep_checkpoints", o.keep_checkpoints, "newest checkpoints kept; 0 = all", Range{0, 1e6});
    field(
        "activation_checkpointing", o.activation_checkpointing,
        "what the denoiser's segments hold until the backward pass: all (off); their inputs, the rest is computed "
        "again (on: less memory, about a third more time); the same, and the inputs wait in host memory (offload); or "
        "the cheapest of these that is forecast to fit, segment by segment (auto)",
        Choices{"off", "on", "offload", "auto"});
  }

  template <class Rule>
  static void rules(const TrainOptions& o, Rule&& rule) {
    rule(o.warmup_steps <= o.steps, "warmup_steps", "expected at most train.steps = {}, found {}", o.steps,
         o.warmup_steps);
    rule(o.beta1 < 1, "beta1", "expected a number below 1, found {}", o.beta1);
    rule(o.beta2 < 1, "beta2", "expected a number below 1, found {}", o.beta2);
    rule(o.epsilon > 0, "epsilon", "expected a number above 0, found {}", o.epsilon);
  }
};

struct PreviewOptions {
  int64_t every = 0;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("every", o.every, "steps between previews, made with the prompts, seeds and settings of `sample`; 0 = none",
          Range{0, 1e9});
  }
};

}  // namespace jointtuner::train
