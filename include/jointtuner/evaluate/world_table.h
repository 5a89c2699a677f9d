// Scores of the videos of sample folders against a world.json, as rows and as tables.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "jointtuner/evaluate/world_measure.h"

namespace jointtuner::evaluate::world {

struct Row {
  std::string video, label, prompt;  ///< file; adapter; what was asked
  int64_t seed = 0;
  Asked asked;
  Scores scores;
  Measured measured;
};

/// One row for each line of FOLDER/samples.jsonl of each folder, in order. world.json:
///   {"references": {"subjects": [SUBJECT, ...], "backgrounds": ["navy", ...]},
///    "prompts": {"a toy dancing on a teal background": {"subject": SUBJECT, "motion": "hop", "background": "teal"}}}
/// with SUBJECT {"shape", "texture", "first", "second"}. Throws Error naming the file: a missing or damaged file, a
/// video that is not 32x32, a name the world does not have, a sampled prompt that world.json does not list.
std::vector<Row> world_rows(const std::vector<std::filesystem::path>& folders, const std::filesystem::path& world_json);

/// A line a video with a heading: what was asked, what was found, the scores. Numbers with six digits.
std::string world_csv(const std::vector<Row>& rows);

/// A line a label: videos, mean scores, and the share of videos whose shape, colours, background and motion are right.
std::string world_summary(const std::vector<Row>& rows);

}  // namespace jointtuner::evaluate::world
