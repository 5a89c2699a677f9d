#include <fmt/format.h>

#include "jointtuner/run/check.h"
#include "jointtuner/run/facts.h"
#include "jointtuner/run/memory_report.h"

namespace jointtuner::run {
namespace {

std::string text_at(const Json& object, const char* key) { return object.at(key).get<std::string>(); }
int64_t number_at(const Json& object, const char* key) { return object.at(key).get<int64_t>(); }
double real_at(const Json& object, const char* key) { return object.at(key).get<double>(); }

/// "640x480"
std::string size_text(const Json& object) {
  return fmt::format("{}x{}", number_at(object, "width"), number_at(object, "height"));
}

/// "12 of 77 tokens"
std::string tokens_text(const Json& tokens) {
  if (tokens.is_null()) return "tokens not counted";
  if (tokens.at("count").is_null()) return "no tokens";
  return fmt::format("{} of {} tokens", number_at(tokens, "count"), number_at(tokens, "most"));
}

class Text {
 public:
  template <class... Values>
  void line(fmt::format_string<Values...> format, Values&&... values) {
    text_ += fmt::format(format, std::forward<Values>(values)...) + "\n";
  }
  void add(const std::string& lines) { text_ += lines; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

void add_backbone(Text& text, const Json& backbone) {
  const Json& preferred = backbone.at("preferred");
  text.line("backbone  {} ({}, {}, {} prediction), prefers {}, {} frames at {:g} fps", text_at(backbone, "name"),
            text_at(backbone, "family"), text_at(backbone, "dtype"), text_at(backbone, "prediction"),
            size_text(preferred), number_at(preferred, "frames"), real_at(preferred, "fps"));
  if (backbone.at("skeleton").get<bool>())
    text.line("          a skeleton: shapes without weights, to forecast memory; it cannot be trained");
}

void add_adapters(Text& text, const Json& adapters) {
  const Json& gate = adapters.at("gate");
  text.line("adapters  rank {}, {}, {} sites, {} parameters", number_at(adapters, "rank"),
            gate.is_null() ? "plain LoRA" : "gated by " + gate.get<std::string>(), number_at(adapters, "sites"),
            grouped(number_at(adapters, "parameters")));
  for (const Json& row : adapters.at("groups"))
    text.line("          {:<10} {:>4} sites, {} parameters", text_at(row, "group"), number_at(row, "sites"),
              grouped(number_at(row, "parameters")));
}

void add_item(Text& text, const Json& item, const std::string& kind) {
  const Json& crop = item.at("crop");
  text.line("{:<7}   {}", kind, text_at(item, "path"));
  text.line("          \"{}\" ({})", text_at(item, "caption"), tokens_text(item.at("tokens")));
  text.line("          {}{}; {} of it at ({}, {}) becomes {}", size_text(item),
            item.contains("duration_s") ? fmt::format(", {:.2f} s", real_at(item, "duration_s")) : "", size_text(crop),
            number_at(crop, "left"), number_at(crop, "top"), size_text(item.at("fitted")));
  for (const Json& clip : item.at("clips")) {
    std::string times;
    for (const Json& time : clip.at("times_s")) times += fmt::format(" {:.3f}", time.get<double>());
    text.line("          from {:.3f} s, frames at{}", real_at(clip, "start_s"), times);
  }
}

void add_data(Text& text, const Json& report) {
  const Json& data = report.at("data");
  text.line("data      {}, {} frames at {:g} fps, resize {}", size_text(data), number_at(data, "frames"),
            real_at(data, "fps"), text_at(data, "resize"));
  for (const Json& source : report.at("sources")) {
    for (const Json& item : source.at("items")) add_item(text, item, text_at(source, "kind"));
    for (const Json& skipped : source.at("skipped")) text.line("skipped   {}", text_at(skipped, "reason"));
  }
}

void add_samples(Text& text, const Json& samples) {
  const int64_t every = number_at(samples, "preview_every");
  text.line("samples   {} prompts x {} seeds, {}, {} frames, {} {} steps, guidance {:g} ({}){}",
            number_at(samples, "prompts"), number_at(samples, "seeds"), size_text(samples),
            number_at(samples, "frames"), number_at(samples, "steps"), text_at(samples, "sampler"),
            real_at(samples, "guidance"), text_at(samples, "guidance_schedule"),
            every > 0 ? fmt::format(", previewed every {} steps", every) : "");
}

void add_run(Text& text, const Json& run) {
  const Json& last = run.at("last_checkpoint");
  text.line("run       {} on {}, {} steps{}", text_at(run, "folder"), text_at(run, "device"), number_at(run, "steps"),
            last.is_null()
                ? ""
                : fmt::format("; it has checkpoints up to step {}: go on with --resume", last.get<int64_t>()));
}

}  // namespace

std::string check_text(const Json& report) {
  Text text;
  if (report.contains("backbone")) add_backbone(text, report.at("backbone"));
  if (report.contains("adapters")) add_adapters(text, report.at("adapters"));
  add_data(text, report);
  for (const Json& prompt : report.at("prompts"))
    text.line("prompt    \"{}\" ({})", text_at(prompt, "prompt"), tokens_text(prompt.at("tokens")));
  if (report.contains("samples")) add_samples(text, report.at("samples"));
  add_run(text, report.at("run"));
  if (report.contains("memory")) text.add(memory_text(report.at("memory")));
  if (report.at("problems").empty()) {
    text.line("no problems found");
  } else {
    text.line("problems:");
    for (const Json& problem : report.at("problems")) text.line("  - {}", problem.get<std::string>());
  }
  return text.take();
}

}  // namespace jointtuner::run
