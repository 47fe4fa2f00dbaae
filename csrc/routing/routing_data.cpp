#include "motley/routing/routing_data.h"

#include <bit>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "motley/base/error.h"
#include "motley/record/safetensors.h"

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
std::vector<Value> values(const SafetensorsFile& file, const std::string& name, std::size_t count) {
  const StoredTensor& tensor = file.at(name);
  if (tensor.data.size() != count * sizeof(Value)) {
    throw InputError::of("{}: tensor \"{}\" has {} bytes, expected {}", file.source(), name, tensor.data.size(),
                         count * sizeof(Value));
  }
  std::vector<Value> result(count);
  std::memcpy(result.data(), tensor.data.data(), tensor.data.size());
  return result;
}

void read_prices(const std::filesystem::path& file, RoutingData& data) {
  std::ifstream in(file);
  std::string line;
  if (!in || !std::getline(in, line)) {
    throw InputError::of("{}: cannot be read, expected list prices as CSV", file.string());
  }
  for (int number = 2; std::getline(in, line); ++number) {
    std::istringstream cells(line);
    std::string name;
    std::string parameters;
    std::string in_price;
    std::string out_price;
    std::getline(cells, name, ',');
    std::getline(cells, parameters, ',');
    std::getline(cells, in_price, ',');
    std::getline(cells, out_price, ',');
    try {
      data.usd_per_mtok_in.push_back(std::stod(in_price));
      data.usd_per_mtok_out.push_back(std::stod(out_price));
    } catch (const std::exception&) {
      throw InputError::of("{}: line {}: found prices \"{}\" and \"{}\", expected two numbers", file.string(), number,
                           in_price, out_price);
    }
    data.models.push_back(name);
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
  const SafetensorsFile embeddings(folder / "embeddings.safetensors");
  const StoredTensor& stored = embeddings.at("embeddings");
  if (stored.dtype != DType::Float16 || stored.shape.size() != 2) {
    throw InputError::of("{}: tensor \"embeddings\" expected as float16 [queries, width]", embeddings.source());
  }
  data.queries = stored.shape[0];
  data.embedding_width = stored.shape[1];
  const auto n = static_cast<std::size_t>(data.queries);
  const std::size_t m = data.models.size();
  for (const std::uint16_t half :
       values<std::uint16_t>(embeddings, "embeddings", n * static_cast<std::size_t>(data.embedding_width))) {
    data.embeddings.push_back(from_half(half));
  }
  const SafetensorsFile outcomes(folder / "outcomes.safetensors");
  data.correct = values<std::uint8_t>(outcomes, "correct", n * m);
  data.answered = values<std::uint8_t>(outcomes, "answered", n * m);
  data.output_chars = values<std::uint16_t>(outcomes, "output_chars", n * m);
  data.input_chars = values<std::int32_t>(outcomes, "input_chars", n);
  data.category = values<std::uint8_t>(outcomes, "category", n);
  data.split = values<std::uint8_t>(outcomes, "split", n);
  std::ifstream in(folder / "meta.json");
  const nlohmann::json meta = nlohmann::json::parse(in, nullptr, false);
  if (!meta.is_object() || !meta.contains("categories") || !meta["categories"].is_array()) {
    throw InputError::of("{}: expected JSON with an array \"categories\"", (folder / "meta.json").string());
  }
  for (const auto& category : meta["categories"]) {
    data.categories.push_back(category.is_string() ? category.get<std::string>() : category.dump());
  }
  return data;
}

}  // namespace motley
