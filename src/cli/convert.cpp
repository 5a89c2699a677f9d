#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "commands.h"
#include "jointtuner/adapter/joined.h"
#include "jointtuner/adapter/plain_lora.h"
#include "jointtuner/adapter/published_list.h"
#include "jointtuner/base/error.h"
#include "jointtuner/run/adapter_source.h"
#include "jointtuner/run/facts.h"
#include "machine.h"

namespace jointtuner::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  Machine machine;
  std::string in, out, backbone, join, gate_pooling = "sample", prefix = "unet.";
  bool ungated = false;
  double gate = adapter::kInitialGate;
};

run::AdapterSource source_of(const std::string& path, const Arguments& a) {
  return run::is_published_list(path) ? run::published_adapter(path, a.backbone, a.gate_pooling)
                                      : run::own_adapter(path, a.backbone);
}

void write_converted(const Arguments& a, const run::AdapterSource& source) {
  if (a.ungated)
    adapter::export_plain_lora(a.out, source.adapters, source.metadata.scale, a.gate, a.prefix);
  else if (fs::path(a.out).extension() == ".pt")
    adapter::save_published_list(a.out, source.adapters);
  else
    adapter::save_adapter(a.out, source.adapters, source.metadata);
}

void run_convert(const Arguments& a) {
  prepare(a.machine);
  const std::string ending = fs::path(a.out).extension().string();
  if (ending != ".safetensors" && (ending != ".pt" || a.ungated))
    throw UsageError(fmt::format("{}: expected a name ending in .safetensors{}, found \"{}\"", a.out,
                                 a.ungated ? "" : " (ours) or .pt (published list)", ending));
  if (fs::exists(a.out))
    throw UsageError(fmt::format("{}: exists already and is not overwritten; remove it or choose another name", a.out));
  run::AdapterSource source = source_of(a.in, a);
  if (!a.join.empty()) {
    const run::AdapterSource second = source_of(a.join, a);
    source.adapters = adapter::joined(source.adapters, source.metadata.scale, second.adapters, second.metadata.scale);
    source.metadata.rank = source.adapters.rank();
    source.metadata.data_hash = "";  // neither run's
  }
  write_converted(a, source);
  fmt::print("{}: {} sites, rank {}, {} parameters{}\n", a.out, source.adapters.size(), source.adapters.rank(),
             run::grouped(source.adapters.parameters()),
             a.ungated && source.adapters.gated()
                 ? fmt::format("; its gates are replaced by the constant {:g}, which is an approximation", a.gate)
                 : "");
}

}  // namespace

void add_convert(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("convert", "Published .pt lists to adapter files and back; plain LoRA for other tools");
  command->add_option("IN", a->in, "published list, or adapter.safetensors")->required();
  command->add_option("OUT", a->out, "new file: x.safetensors, or x.pt for a published list")->required();
  command->add_option("--backbone", a->backbone, "bundle folder; names the layers of a published list")
      ->option_text("BUNDLE");
  command
      ->add_option("--gate-pooling", a->gate_pooling,
                   "how an imported list pools its gates when sampled: sample, or batch as the published code")
      ->check(CLI::IsMember({"sample", "batch"}))
      ->option_text("NAME");
  CLI::Option* ungated = command->add_flag(
      "--ungated", a->ungated, "write a plain LoRA (diffusers and PEFT names) with a constant in place of the gates");
  command->add_option("--gate", a->gate, "that constant; metrics.jsonl of a run tells its mean gate (default 0.5)")
      ->check(CLI::Range(0.0, 1.0))
      ->needs(ungated)
      ->option_text("X");
  command->add_option("--prefix", a->prefix, "before each name of a plain LoRA (default unet.)")
      ->needs(ungated)
      ->option_text("TEXT");
  command->add_option("--join", a->join, "add this plain LoRA to IN: two concepts trained apart, sampled together")
      ->option_text("FILE");
  add_machine_options(*command, a->machine);
  command->footer(
      "Examples:\n"
      "  jointtuner convert 2000_unet.pt corgi.safetensors --backbone bundles/zeroscope\n"
      "  jointtuner convert runs/corgi/adapter.safetensors corgi.pt\n"
      "  jointtuner convert runs/corgi/adapter.safetensors corgi_lora.safetensors --ungated --gate 0.48\n"
      "  jointtuner convert subject.safetensors both.safetensors --join motion.safetensors");
  command->callback([a] { run_convert(*a); });
}

}  // namespace jointtuner::cli
