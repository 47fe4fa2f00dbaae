#include "motley/plan/certificate.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "motley/plan/json_field.h"

namespace motley {
namespace {

using nlohmann::json;

constexpr int kMostLevels = 200;
constexpr std::int64_t kMostNumbers = 10'000'000;  // of a list, so that a mistyped count is no allocation

json runs_of(const std::vector<double>& numbers) {
  json runs = json::array();
  for (std::size_t first = 0, end = 0; first < numbers.size(); first = end) {
    while (end < numbers.size() && numbers[end] == numbers[first]) ++end;
    runs.push_back({end - first, numbers[first]});
  }
  return runs;
}

std::vector<double> numbers_from(const JsonField& field) {
  std::vector<double> numbers;
  for (const JsonField& run : field.items()) {
    const std::vector<JsonField> pair = run.items();
    if (pair.size() != 2) run.fail("[count, number]");
    const std::int64_t count = pair[0].integer();
    if (count < 1 || count > kMostNumbers - static_cast<std::int64_t>(numbers.size())) {
      pair[0].fail("a count of at least 1, and at most 1e7 numbers in all");
    }
    numbers.insert(numbers.end(), static_cast<std::size_t>(count), pair[1].number());
  }
  return numbers;
}

int count_from(const JsonField& field) {
  const std::int64_t count = field.integer();
  if (count < 0 || count > std::numeric_limits<int>::max()) field.fail("a count");
  return static_cast<int>(count);
}

json to_json(const BoundProof::Table& table) {
  return {{"above_s", table.above_s},
          {"up_to_s", table.up_to_s},
          {"layer_price", table.layer_price},
          {"second_price", table.second_price},
          {"depths", runs_of(table.depths)}};
}

BoundProof::Table table_from(const JsonField& field) {
  field.allow_only({"above_s", "up_to_s", "layer_price", "second_price", "depths"});
  return {field.at("above_s").number(), field.at("up_to_s").number(), field.at("layer_price").number(),
          field.at("second_price").number(), numbers_from(field.at("depths"))};
}

json to_json(const BoundProof::Chains& chains) {
  json result = {{"round_trips", json::array()}, {"prices", runs_of(chains.prices)}};
  for (const std::vector<double>& prices : chains.round_trips) result["round_trips"].push_back(runs_of(prices));
  if (chains.parts.empty()) return result;
  result["layer"] = chains.layer;
  result["device"] = chains.device;
  for (const BoundProof::Chains& part : chains.parts) result["parts"].push_back(to_json(part));
  return result;
}

BoundProof::Chains chains_from(const JsonField& field, int level = 0) {
  if (level > kMostLevels) field.fail("fewer levels of parts");
  field.allow_only({"round_trips", "prices", "layer", "device", "parts"});
  BoundProof::Chains chains;
  for (const JsonField& prices : field.at("round_trips").items()) chains.round_trips.push_back(numbers_from(prices));
  chains.prices = numbers_from(field.at("prices"));
  if (!field.has("parts")) return chains;
  chains.layer = count_from(field.at("layer"));
  chains.device = count_from(field.at("device"));
  for (const JsonField& part : field.at("parts").items()) chains.parts.push_back(chains_from(part, level + 1));
  return chains;
}

json to_json(const BoundProof& proof) {
  json rounds = json::array();
  for (const BoundProof::Round& round : proof.rounds) {
    json tables = json::array();
    for (const BoundProof::Table& table : round.tables) tables.push_back(to_json(table));
    rounds.push_back({{"round_trip", round.round_trip}, {"tables", std::move(tables)}});
  }
  json result = {{"micro_batch_size", proof.micro_batch_size},
                 {"layer_values", runs_of(proof.layer_values)},
                 {"rounds", std::move(rounds)}};
  if (proof.chains) result["chains"] = to_json(*proof.chains);
  return result;
}

BoundProof proof_from(const JsonField& field) {
  field.allow_only({"micro_batch_size", "layer_values", "rounds", "chains"});
  BoundProof proof;
  proof.micro_batch_size = field.at("micro_batch_size").integer();
  proof.layer_values = numbers_from(field.at("layer_values"));
  for (const JsonField& item : field.at("rounds").items()) {
    item.allow_only({"round_trip", "tables"});
    BoundProof::Round round;
    round.round_trip = item.at("round_trip").boolean();
    for (const JsonField& table : item.at("tables").items()) round.tables.push_back(table_from(table));
    proof.rounds.push_back(std::move(round));
  }
  if (field.has("chains")) proof.chains = chains_from(field.at("chains"));
  return proof;
}

json to_json(const BoundSpace& space) {
  return {{"global_batch", space.global_batch},
          {"micro_batch_sizes", space.micro_batch_sizes},
          {"schedules", space.schedules},
          {"allow", space.allow},
          {"any_passes", space.any_passes},
          {"clip", space.clip},
          {"max_stages", space.max_stages},
          {"max_replicas", space.max_replicas},
          {"share_unit", space.share_unit},
          {"max_rounds", space.max_rounds},
          {"use_all_devices", space.use_all_devices},
          {"any_order", space.any_order}};
}

BoundSpace space_from(const JsonField& field) {
  field.allow_only({"global_batch", "micro_batch_sizes", "schedules", "allow", "any_passes", "clip", "max_stages",
                    "max_replicas", "share_unit", "max_rounds", "use_all_devices", "any_order"});
  BoundSpace space;
  space.global_batch = field.at("global_batch").integer();
  for (const JsonField& size : field.at("micro_batch_sizes").items()) space.micro_batch_sizes.push_back(size.integer());
  for (const JsonField& schedule : field.at("schedules").items()) space.schedules.push_back(schedule.text());
  for (const JsonField& feature : field.at("allow").items()) space.allow.push_back(feature.text());
  space.any_passes = field.at("any_passes").boolean();
  space.clip = field.at("clip").boolean();
  space.max_stages = count_from(field.at("max_stages"));
  space.max_replicas = count_from(field.at("max_replicas"));
  space.share_unit = count_from(field.at("share_unit"));
  space.max_rounds = count_from(field.at("max_rounds"));
  space.use_all_devices = field.at("use_all_devices").boolean();
  space.any_order = field.at("any_order").boolean();
  return space;
}

}  // namespace

json to_json(const Certificate& certificate) {
  json result = {{"lower_bound_s", certificate.lower_bound.value},
                 {"gap", certificate.gap},
                 {"space", certificate.space},
                 {"objective", certificate.objective}};
  if (certificate.asked.global_batch > 0) result["asked"] = to_json(certificate.asked);
  if (!certificate.proofs.empty()) {
    result["proven_bound_s"] = certificate.proven_bound.value;
    result["proofs"] = json::array();
    for (const BoundProof& proof : certificate.proofs) result["proofs"].push_back(to_json(proof));
  }
  return result;
}

Certificate certificate_from(const JsonField& field) {
  field.allow_only({"lower_bound_s", "gap", "space", "objective", "asked", "proven_bound_s", "proofs"});
  Certificate certificate;
  certificate.lower_bound = field.at("lower_bound_s").seconds();
  certificate.gap = field.at("gap").number();
  certificate.space = field.at("space").text();
  if (field.has("objective")) certificate.objective = field.at("objective").text();
  if (field.has("asked")) certificate.asked = space_from(field.at("asked"));
  if (field.has("proofs")) {
    certificate.proven_bound = field.at("proven_bound_s").seconds();
    for (const JsonField& proof : field.at("proofs").items()) certificate.proofs.push_back(proof_from(proof));
  }
  return certificate;
}

}  // namespace motley
