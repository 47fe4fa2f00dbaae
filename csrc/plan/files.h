#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "motley/plan/plan.h"
#include "motley/plan/profile.h"

namespace motley {

/// Versioned JSON in and out. Readers validate and throw InputError naming file and field, what was found and what was
/// expected; unknown fields are refused. Writers replace the file in one rename.
[[nodiscard]] Profile read_profile(const std::filesystem::path& file);
void write_profile(const std::filesystem::path& file, const Profile& profile);
/// Structure only; layers, devices and fingerprints are checked where a profile is at hand.
[[nodiscard]] Plan read_plan(const std::filesystem::path& file);
void write_plan(const std::filesystem::path& file, const Plan& plan);

[[nodiscard]] nlohmann::json to_json(const Profile& profile);
/// All but cluster.links, which grow with the square of the devices.
[[nodiscard]] nlohmann::json to_json_without_links(const Profile& profile);
[[nodiscard]] nlohmann::json to_json(const Plan& plan);
[[nodiscard]] Profile profile_from_json(const nlohmann::json& json, const std::string& source);
[[nodiscard]] Plan plan_from_json(const nlohmann::json& json, const std::string& source);

/// "profile", "plan" or empty: the kind of file this JSON says it is.
[[nodiscard]] std::string kind_of(const nlohmann::json& json);

}  // namespace motley
