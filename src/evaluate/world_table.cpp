#include "jointtuner/evaluate/world_table.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "jointtuner/base/atomic_file.h"
#include "jointtuner/base/error.h"
#include "jointtuner/media/video_reader.h"

namespace jointtuner::evaluate::world {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Truth {
  fs::path path;
  json prompts;
  Asked common;  ///< the references
};

Subject subject_of(const json& value) {
  return {value.at("shape"), value.at("texture"), value.at("first"), value.at("second")};
}

Truth load_truth(const fs::path& path) {
  try {
    const json value = json::parse(read_file(path));
    Truth truth{path, value.at("prompts"), {}};
    for (const json& subject : value.at("references").at("subjects"))
      truth.common.reference_subjects.push_back(subject_of(subject));
    value.at("references").at("backgrounds").get_to(truth.common.reference_backgrounds);
    return truth;
  } catch (const json::exception& error) {
    throw Error(fmt::format("{}: expected references and prompts of a sprite world: {}", path.string(), error.what()));
  }
}

Asked asked_of(const Truth& truth, const std::string& prompt) {
  const auto entry = truth.prompts.find(prompt);
  if (entry == truth.prompts.end())
    throw Error(fmt::format("{}: does not say what the prompt \"{}\" asks for; add it to \"prompts\"",
                            truth.path.string(), prompt));
  try {
    Asked asked = truth.common;
    asked.subject = subject_of(entry->at("subject"));
    entry->at("motion").get_to(asked.motion);
    entry->at("background").get_to(asked.background);
    return asked;
  } catch (const json::exception& error) {
    throw Error(fmt::format("{}: prompt \"{}\": expected subject, motion and background: {}", truth.path.string(),
                            prompt, error.what()));
  }
}

/// float32 [F,3,32,32] in 0..1
Tensor frames_of(const fs::path& path) {
  const media::VideoInfo info = media::probe_video(path);
  if (info.size.width_px != kSize_px || info.size.height_px != kSize_px)
    throw Error(fmt::format("{}: a video of the sprite world has {}x{} pixels, found {}x{}", path.string(), kSize_px,
                            kSize_px, info.size.width_px, info.size.height_px));
  const Tensor frames = media::read_clip(path, {.start_s = 0, .fps = info.mean_fps, .frames = info.frames});
  return frames.permute({0, 3, 1, 2}).to(at::kFloat).contiguous() / 255;
}

Row row_of(const fs::path& folder, const json& line, const Truth& truth) {
  const fs::path video = folder / line.at("file").get<std::string>();
  Row row{video.string(), line.at("label"), line.at("prompt"), line.at("seed"), {}, {}, {}};
  row.asked = asked_of(truth, row.prompt);
  const Tensor frames = frames_of(video);
  row.scores = scores(frames, row.asked);
  row.measured = measure(frames);
  return row;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string columns(const Subject& s) { return fmt::format("{},{},{},{}", s.shape, s.texture, s.first, s.second); }

bool colours_right(const Row& row) {
  const Subject& want = row.asked.subject;
  const auto& found = row.measured.subject;
  // A plain sprite must be plain; which side a colour is on is the texture's matter.
  return found && (found->first == found->second) == (want.first == want.second) &&
         (found->first == want.first || found->first == want.second) &&
         (found->second == want.first || found->second == want.second);
}

}  // namespace

std::vector<Row> world_rows(const std::vector<fs::path>& folders, const fs::path& world_json) {
  const Truth truth = load_truth(world_json);
  std::vector<Row> rows;
  for (const fs::path& folder : folders) {
    std::istringstream lines(read_file(folder / "samples.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      try {
        rows.push_back(row_of(folder, json::parse(line), truth));
      } catch (const json::exception& error) {
        throw Error(fmt::format("{}: a line is damaged: {}", (folder / "samples.jsonl").string(), error.what()));
      }
    }
  }
  return rows;
}

std::string world_csv(const std::vector<Row>& rows) {
  std::string out =
      "video,label,prompt,seed,asked_shape,asked_texture,asked_first,asked_second,asked_motion,asked_background,"
      "found_shape,found_texture,found_first,found_second,found_motion,found_background,"
      "appearance,motion,contamination,text,validity,joint\n";
  for (const Row& row : rows) {
    const Scores& s = row.scores;
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f}\n", quoted(row.video),
                       quoted(row.label), quoted(row.prompt), row.seed, columns(row.asked.subject), row.asked.motion,
                       row.asked.background, columns(row.measured.subject.value_or(Subject{})), row.measured.motion,
                       row.measured.background, s.appearance, s.motion, s.contamination, s.text, s.validity, s.joint());
  }
  return out;
}

std::string world_summary(const std::vector<Row>& rows) {
  std::vector<std::string> labels;
  for (const Row& row : rows)
    if (std::find(labels.begin(), labels.end(), row.label) == labels.end()) labels.push_back(row.label);
  std::string out = fmt::format("{:24} {:>6} {:>10} {:>6} {:>13} {:>5} {:>8} {:>5}   {:>5} {:>7} {:>10} {:>6}\n",
                                "label", "videos", "appearance", "motion", "contamination", "text", "validity", "joint",
                                "shape", "colours", "background", "motion");
  for (const std::string& label : labels) {
    double sums[10] = {};
    for (const Row& row : rows) {
      if (row.label != label) continue;
      const Scores& s = row.scores;
      const Measured& m = row.measured;
      const double values[] = {s.appearance,
                               s.motion,
                               s.contamination,
                               s.text,
                               s.validity,
                               s.joint(),
                               m.subject && m.subject->shape == row.asked.subject.shape ? 1. : 0.,
                               colours_right(row) ? 1. : 0.,
                               m.background == row.asked.background ? 1. : 0.,
                               m.motion == row.asked.motion ? 1. : 0.};
      for (size_t i = 0; i < std::size(values); ++i) sums[i] += values[i];
    }
    const auto count = std::count_if(rows.begin(), rows.end(), [&](const Row& row) { return row.label == label; });
    for (double& sum : sums) sum /= static_cast<double>(count);
    out += fmt::format(
        "{:24} {:>6} {:>10.3f} {:>6.3f} {:>13.3f} {:>5.3f} {:>8.3f} {:>5.3f}   {:>5.3f} {:>7.3f} {:>10.3f} {:>6.3f}\n",
        label, count, sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7], sums[8], sums[9]);
  }
  return out;
}

}  // namespace jointtuner::evaluate::world
