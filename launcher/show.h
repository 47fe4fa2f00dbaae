#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "motley/plan/plan.h"
#include "motley/plan/profile.h"
#include "motley/schedule/schedule.h"

namespace motley {

/// A file's content twice: for a person and as JSON.
struct Shown {
  std::string words;
  nlohmann::json json;
};

// Motley's files for a person, as text for a terminal. All end with a newline.

/// A table of the layers for each device type, devices, and the matrix of links.
[[nodiscard]] std::string in_words(const Profile& profile);

/// A picture, layers across and devices down, then a table of stages and edges, the prediction and what was proved.
[[nodiscard]] std::string in_words(const Plan& plan);

/// What does not fit together, or a picture with a tick a letter: F = I = W = 1, B = 2, transfers free.
[[nodiscard]] std::string in_words(const Schedule& schedule);

/// Step, settings and layers of a checkpoint, or of the latest in a folder of them.
[[nodiscard]] Shown show_checkpoint(const std::filesystem::path& path);

/// Steps of a training run's record.jsonl, at most 20 of them, and its summary by rank.
[[nodiscard]] std::string record_in_words(const std::filesystem::path& file);

/// A run's folder: the paragraph and the findings of its report.
[[nodiscard]] std::string run_in_words(const std::filesystem::path& folder);

/// A table of evaluation.json.
[[nodiscard]] std::string evaluation_in_words(const nlohmann::json& evaluation, const std::string& source);

}  // namespace motley
