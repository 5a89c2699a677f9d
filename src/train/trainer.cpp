#include "jointtuner/train/trainer.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <sstream>

#include "event_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/base/interrupt.h"
#include "jointtuner/base/log.h"
#include "jointtuner/base/progress.h"
#include "learning_rate.h"
#include "metrics.h"

namespace jointtuner::train {

namespace {

bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

std::optional<double> mean_loss(const std::vector<ItemResult>& items, data::Kind kind) {
  double sum = 0;
  int64_t count = 0;
  for (const ItemResult& item : items) {
    if (item.kind == kind) {
      sum += item.loss;
      ++count;
    }
  }
  return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
}

/// Names the items whose loss is not finite; all of the step when only the gradient is not.
[[noreturn]] void fail_non_finite(const StepMetrics& metrics, const std::vector<data::Item>& items,
                                  const std::filesystem::path& folder) {
  const bool losses_finite = std::isfinite(metrics.loss);
  std::string culprits;
  for (const ItemResult& result : metrics.items)
    if (losses_finite || !std::isfinite(result.loss))
      culprits +=
          fmt::format("{}{} at timestep {} (loss {:g})", culprits.empty() ? "" : ", ",
                      items.at(static_cast<size_t>(result.draw.item)).path.string(), result.timestep, result.loss);
  throw Error(
      fmt::format("step {}: the {} is not finite: {}. The step was not taken and nothing was saved since the last "
                  "checkpoint in {}. Try a lower train.learning_rate or train.gradient_clip, and look at that item",
                  metrics.step, losses_finite ? "gradient" : "loss", culprits, folder.string()));
}

/// Since the process was started; 0 where the system does not tell.
double process_age_s() {
  std::ifstream file("/proc/self/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t after_name = text.rfind(')');  // the name before it may hold spaces
  if (after_name == std::string::npos) return 0;
  std::istringstream fields(text.substr(after_name + 1));
  constexpr int kFieldsBefore = 19;  // start time is field 22; the name was field 2
  std::string skipped;
  for (int i = 0; i < kFieldsBefore; ++i) fields >> skipped;
  double start_ticks = 0;
  fields >> start_ticks;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 -
         start_ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

Scalars event_scalars(const StepMetrics& metrics) {
  Scalars scalars = {{"loss/total", metrics.loss},
                     {"gradient_norm", metrics.gradient_norm},
                     {"learning_rate", metrics.learning_rate},
                     {"samples_per_second", static_cast<double>(metrics.samples) / metrics.seconds},
                     {"peak_memory_mb", static_cast<double>(metrics.peak_memory_bytes) / 1e6}};
  const auto add = [&scalars](const char* tag, const std::optional<double>& value) {
    if (value) scalars.emplace_back(tag, *value);
  };
  add("loss/image", metrics.loss_image);
  add("loss/video", metrics.loss_video);
  add("mean_gate", metrics.mean_gate);
  return scalars;
}

}  // namespace

Trainer::Trainer(TrainerParts parts, TrainerOptions options, Preview preview)
    : parts_(parts),
      options_(std::move(options)),
      preview_(std::move(preview)),
      optimizer_(parts.adapters.flat(), options_.train),
      loss_scaler_(options_.loss_scaling),
      step_(restore()),
      saved_step_(step_),
      metrics_(std::make_unique<MetricsFile>(parts.folder.metrics(), step_)),
      events_(std::make_unique<EventFile>(parts.folder.path(), step_ + 1)) {
  parts_.adapters.set_requires_grad(true);
}

Trainer::~Trainer() = default;

int64_t Trainer::restore() {
  const int64_t done = parts_.folder.first_step();
  if (done > options_.train.steps)
    throw UsageError(fmt::format("train.steps: {} steps are asked for, but the run has made {} already; ask for more",
                                 options_.train.steps, done));
  TrainingState state{parts_.adapters, optimizer_, loss_scaler_};
  parts_.folder.restore(state);
  return done;
}

void Trainer::run() {
  const int64_t steps = options_.train.steps;
  if (step_ == steps) {
    log_info(fmt::format("{}: all {} steps are done already", parts_.folder.path().string(), steps));
    return;
  }
  if (due(step_, options_.preview.every) && step_ > 0 && !std::filesystem::exists(parts_.folder.preview(step_)))
    make_preview();  // the run was killed between this step's checkpoint and its preview
  log_info(fmt::format("ready after {:.1f} s: {} trainable parameters, steps {} to {}", process_age_s(),
                       parts_.adapters.parameters(), step_ + 1, steps));
  Progress progress("training", steps, step_);
  while (step_ < steps) {
    const StepMetrics metrics = optimiser_step();
    ++step_;
    report(metrics);
    progress.update(step_, fmt::format("loss {:.4f}  rate {:.2e}", metrics.loss, metrics.learning_rate));
    const bool stop = interrupt_requested() && step_ < steps;
    if (stop || step_ == steps || due(step_, options_.train.checkpoint_every)) save_checkpoint();
    if (stop)
      throw Interrupted(
          fmt::format("stopped after step {} of {}; {} holds a checkpoint of it. Give the same command "
                      "with --resume to go on",
                      step_, steps, parts_.folder.path().string()));
    if (due(step_, options_.preview.every)) make_preview();
  }
}

StepMetrics Trainer::optimiser_step() {
  const auto began = std::chrono::steady_clock::now();
  const int64_t accumulation = options_.train.accumulation;
  StepMetrics metrics;
  metrics.step = step_ + 1;
  metrics.learning_rate = learning_rate(options_.train, step_);
  metrics.loss_scale = loss_scaler_.scale();

  parts_.adapters.zero_gradient();
  std::vector<RunningStep> micro_steps;
  for (int64_t k = 0; k < accumulation; ++k) {
    const data::JointBatch batch = parts_.batches.at(step_ * accumulation + k);
    micro_steps.push_back(parts_.step.start(batch, metrics.loss_scale / static_cast<double>(accumulation)));
    metrics.epoch = k == 0 ? batch.epoch : metrics.epoch;
  }
  Tensor gradient = parts_.adapters.flat_gradient();
  if (metrics.loss_scale != 1) gradient.mul_(1 / metrics.loss_scale);
  read_numbers(micro_steps, gradient, metrics);
  const bool finite = std::isfinite(metrics.loss) && std::isfinite(metrics.gradient_norm);
  if (!finite && !loss_scaler_.enabled()) fail_non_finite(metrics, parts_.data.items(), parts_.folder.checkpoints());
  metrics.skipped = !loss_scaler_.update(finite);
  if (!metrics.skipped) {
    clip_gradient(gradient, metrics.gradient_norm, options_.train.gradient_clip);
    optimizer_.step(gradient, metrics.learning_rate);
  }
  metrics.samples = static_cast<int64_t>(metrics.items.size());
  metrics.peak_memory_bytes = peak_memory_bytes(parts_.adapters.device());
  metrics.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return metrics;
}

void Trainer::read_numbers(const std::vector<RunningStep>& micro_steps, const Tensor& gradient,
                           StepMetrics& metrics) const {
  std::vector<Tensor> measured = {gradient_norm(gradient).to(at::kDouble).view({1})};
  std::vector<int64_t> lengths = {1};
  for (const RunningStep& step : micro_steps) {
    measured.push_back(step.measured());
    lengths.push_back(step.measured().size(0));
  }
  // The only place where a step's host waits for its device.
  const std::vector<Tensor> numbers = at::cat(measured).cpu().split_with_sizes(lengths);
  metrics.gradient_norm = numbers[0].item().toDouble();
  const auto count = static_cast<double>(micro_steps.size());
  for (size_t k = 0; k < micro_steps.size(); ++k) {
    const TrainingStepResult result = micro_steps[k].result(numbers[k + 1]);
    metrics.loss += result.loss / count;
    if (result.mean_gate) metrics.mean_gate = metrics.mean_gate.value_or(0) + *result.mean_gate / count;
    metrics.items.insert(metrics.items.end(), result.items.begin(), result.items.end());
  }
  metrics.loss_image = mean_loss(metrics.items, data::Kind::image);
  metrics.loss_video = mean_loss(metrics.items, data::Kind::video);
}

void Trainer::report(const StepMetrics& metrics) {
  metrics_->append(metrics_line(metrics, parts_.data.items()));
  events_->add_scalars(metrics.step, event_scalars(metrics));
  if (metrics.skipped)
    log_info(fmt::format("step {}: skipped, the gradient overflowed at a loss scale of {}", metrics.step,
                         metrics.loss_scale));
}

void Trainer::save_checkpoint() {
  if (saved_step_ == step_) return;
  metrics_->sync();
  const int64_t next_micro_step = step_ * options_.train.accumulation;
  CheckpointState state;
  state.step = step_;
  state.epoch = parts_.batches.at(next_micro_step).epoch;
  parts_.folder.save(state, {parts_.adapters, optimizer_, loss_scaler_}, options_.metadata,
                     options_.train.keep_checkpoints);
  saved_step_ = step_;
  if (options_.after_checkpoint) options_.after_checkpoint(step_);
}

void Trainer::make_preview() {
  if (!preview_) return;
  try {
    for (const std::filesystem::path& png : preview_(step_, parts_.adapters))
      events_->add_image(step_, "preview/" + png.stem().string(), png);
  } catch (...) {
    save_checkpoint();  // a preview that fails, or Ctrl-C in it, costs no step
    throw;
  }
}

}  // namespace jointtuner::train
