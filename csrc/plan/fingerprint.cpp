#include <fmt/format.h>
#include <xxhash.h>

#include <nlohmann/json.hpp>

#include "motley/plan/files.h"
#include "motley/plan/profile.h"

namespace motley {
namespace {

std::string hash(const std::string& text) {
  const XXH128_hash_t value = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", value.high64, value.low64);
}

}  // namespace

std::string model_fingerprint(const ModelProfile& model) {
  nlohmann::json identity = {{"name", model.name}, {"layers", nlohmann::json::array()}};
  for (const LayerProfile& layer : model.layers) {
    identity["layers"].push_back({layer.name, layer.parameters.value, to_string(layer.output)});
  }
  return hash(identity.dump());
}

std::string fingerprint(const Profile& profile) {
  // A thousand devices have a million links, which as text would take longer to hash than to plan with.
  std::string bytes = to_json_without_links(profile).dump();
  const auto append = [&bytes](const auto& number) {
    bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
  };
  for (const auto& row : profile.cluster.links) {
    for (const TransferCurve& curve : row) {
      append(curve.points().size());
      for (const TransferCurve::Point& point : curve.points()) {
        append(point.bytes.value);
        append(point.time.value);
      }
    }
  }
  return hash(bytes);
}

}  // namespace motley
