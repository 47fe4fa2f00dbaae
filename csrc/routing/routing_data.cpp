#include "motley/routing/routing_data.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/record/routing_tables.h"

namespace motley {
namespace {

constexpr double kCharactersPerToken = 4.0;

float from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16U;
  std::uint32_t exponent = (half >> 10U) & 0x1FU;
  std::uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0) {
    const float value = static_cast<float>(mantissa) * 0x1p-24F;  // subnormal
    return sign != 0 ? -value : value;
  }
  exponent = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | exponent << 23U | mantissa << 13U);
}

template <typename Value>
std::vector<Value> values(const SafetensorsFile& file, const std::string& name) {
  const StoredTensor& tensor = file.at(name);
  std::vector<Value> result(tensor.data.size() / sizeof(Value));
  if (!result.empty()) {
    std::memcpy(result.data(), tensor.data.data(), tensor.data.size());
  }
  return result;
}

double price(const std::string& cell, const std::string& where) {
  double value = 0.0;
  const char* const end = cell.data() + cell.size();
  const auto [rest, error] = std::from_chars(cell.data(), end, value);
  if (error != std::errc() || rest != end || !(value >= 0.0 && value < 1e9)) {
    throw InputError::of("{}: found price \"{}\", expected USD per million tokens, a number that is not negative",
                         where, cell);
  }
  return value;
}

void read_prices(const std::filesystem::path& file, RoutingData& data) {
  std::istringstream in(read_text(file, "list prices as CSV"));
  std::string line;
  std::getline(in, line);  // the names of the columns
  for (int number = 2; std::getline(in, line); ++number) {
    const std::string where = fmt::format("{}: line {}", file.string(), number);
    std::istringstream cells(line);
    std::array<std::string, 4> cell;  // name, parameters, prices in and out
    for (std::string& text : cell) {
      std::getline(cells, text, ',');
    }
    if (cell[0].empty() || std::find(data.models.begin(), data.models.end(), cell[0]) != data.models.end()) {
      throw InputError::of("{}: found model \"{}\"{}, expected a name of its own", where, cell[0],
                           cell[0].empty() ? "" : " for the second time");
    }
    data.models.push_back(cell[0]);
    data.usd_per_mtok_in.push_back(price(cell[2], where));
    data.usd_per_mtok_out.push_back(price(cell[3], where));
  }
}

std::vector<std::string> names_in(const nlohmann::json& meta, const char* key, const std::string& source) {
  const auto found = meta.find(key);
  const auto is_text = [](const nlohmann::json& value) { return value.is_string(); };
  if (found == meta.end() || !found->is_array() || !std::all_of(found->begin(), found->end(), is_text)) {
    throw InputError::of("{}: expected an array \"{}\" of names", source, key);
  }
  return found->get<std::vector<std::string>>();
}

/// The columns of the outcomes are those that meta.json names; each has its prices, in the same order.
void check_models(const RoutingData& data, const std::vector<std::string>& named, std::int64_t columns,
                  const std::filesystem::path& folder) {
  const std::string meta = (folder / "meta.json").string();
  if (static_cast<std::int64_t>(named.size()) != columns) {
    throw InputError::of("{}: models: found {} names, expected {}, one for each column of outcomes.safetensors", meta,
                         named.size(), columns);
  }
  for (std::size_t model = 0; model < std::max(named.size(), data.models.size()); ++model) {
    const std::string priced = model < data.models.size() ? data.models[model] : "";
    const std::string known = model < named.size() ? named[model] : "";
    if (known != priced) {
      throw InputError::of("{}: line {}: found model \"{}\", expected \"{}\": the models of {} in their order",
                           (folder / "models.csv").string(), model + 2, priced, known, meta);
    }
  }
}

}  // namespace

std::vector<std::size_t> RoutingData::of_split(int which) const {
  std::vector<std::size_t> rows;
  for (std::size_t query = 0; query < split.size(); ++query) {
    if (split[query] == which) {
      rows.push_back(query);
    }
  }
  return rows;
}

double RoutingData::usd(std::size_t query, std::size_t model, double output_characters) const {
  return (input_chars[query] * usd_per_mtok_in[model] + output_characters * usd_per_mtok_out[model]) /
         (kCharactersPerToken * 1e6);
}

RoutingData read_routing_data(const std::filesystem::path& folder) {
  RoutingData data;
  read_prices(folder / "models.csv", data);
  const std::string meta_file = (folder / "meta.json").string();
  const nlohmann::json meta = nlohmann::json::parse(read_text(folder / "meta.json", "a JSON object"), nullptr, false);
  if (!meta.is_object()) {
    throw InputError::of("{}: expected a JSON object with \"models\" and \"categories\"", meta_file);
  }
  data.categories = names_in(meta, "categories", meta_file);
  const RoutingTables tables = read_routing_tables(folder);
  check_models(data, names_in(meta, "models", meta_file), tables.models, folder);
  data.queries = tables.queries;
  data.embedding_width = tables.embedding_width;
  for (const std::uint16_t half : values<std::uint16_t>(tables.embeddings, "embeddings")) {
    data.embeddings.push_back(from_half(half));
  }
  data.correct = values<std::uint8_t>(tables.outcomes, "correct");
  data.answered = values<std::uint8_t>(tables.outcomes, "answered");
  data.output_chars = values<std::uint16_t>(tables.outcomes, "output_chars");
  data.input_chars = values<std::int32_t>(tables.outcomes, "input_chars");
  data.category = values<std::uint8_t>(tables.outcomes, "category");
  data.split = values<std::uint8_t>(tables.outcomes, "split");
  const auto unknown = std::find_if(data.category.begin(), data.category.end(),
                                    [&](std::uint8_t index) { return index >= data.categories.size(); });
  if (unknown != data.category.end()) {
    throw InputError::of("{}: tensor category: found {} at row {}, expected one of the {} categories of {}",
                         tables.outcomes.source(), *unknown, unknown - data.category.begin(), data.categories.size(),
                         meta_file);
  }
  return data;
}

}  // namespace motley
