// The memory of each stage of a run, found by running it on `meta` (dry_run.h) before it runs on a device.
//
// A run passes its stages one after another (design: encode text, free the text encoder, encode latents, free the
// autoencoder, load the denoiser, train; previews sample and decode beside the trained state), so the most that it
// needs is the largest stage's.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "jointtuner/adapter/options.h"
#include "jointtuner/backbone/bundle.h"
#include "jointtuner/data/options.h"
#include "jointtuner/diffusion/options.h"
#include "jointtuner/inject/graph_program.h"
#include "jointtuner/sample/options.h"
#include "jointtuner/train/options.h"

namespace jointtuner::forecast {

/// Bytes on the device. Files mapped into the host's memory count where the CPU is the device: their pages are used.
struct Stage {
  std::string name;
  int64_t weights = 0;      ///< of the frozen models that are loaded in it: elements x size of an element
  int64_t adapters = 0;     ///< fp32: values; while training also gradients, both AdamW moments and its step
  int64_t activations = 0;  ///< the most that is held besides these
  int64_t rounding = 0;     ///< what CUDA's caching allocator adds by handing out multiples of 512 bytes, at the peak
  int64_t host = 0;         ///< of the host's memory: where offloaded inputs of segments wait
  int64_t peak() const { return weights + adapters + activations; }
};

/// What is to be forecast: a run's options. Of `data` the sizes and the tile matter, and which kinds of items there
/// are.
struct Work {
  adapter::AdapterOptions adapter;
  data::DataOptions data;
  diffusion::LossOptions loss;
  train::TrainOptions train;
  sample::SampleOptions sample;  ///< as from sample::resolved()
  /// GraphOptions::segment_memory while training; this, not train.activation_checkpointing, is what counts here.
  std::vector<inject::SegmentMemory> segment_memory = {inject::SegmentMemory::recompute};
  bool previews = false;  ///< sampling and decoding happen inside the run, beside denoiser, adapters and optimiser
};

// All take the bundle and the device that is described (dry_run.h). They throw Error where the real work would: sizes
// that do not fit the bundle, a damaged file.

/// One caption through the text encoder.
Stage encode_text(const backbone::Bundle& bundle, c10::Device described);

/// The largest item through the autoencoder, in tiles of data.encode_tile.
Stage encode_latents(const backbone::Bundle& bundle, const Work& work, c10::Device described);

/// Optimiser steps of the real TrainingStep and AdamW: one whose micro-batch is all pictures, where there are pictures,
/// then one that is all clips. (A batch of both holds less: each kind passes on its own.)
Stage train(const backbone::Bundle& bundle, const Work& work, c10::Device described);

/// Steps of the sampler with the adapters, a batch of two where there is guidance.
Stage preview(const backbone::Bundle& bundle, const Work& work, c10::Device described);

/// The decode of one video, in slices and tiles as `sample` says; with work.previews beside the trained state.
Stage decode(const backbone::Bundle& bundle, const Work& work, c10::Device described);

}  // namespace jointtuner::forecast
