#include "motley/record/routing_tables.h"

#include <fmt/ranges.h>

#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <string_view>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr std::array<std::string_view, 3> kSplits{"train", "validation", "test"};
constexpr std::uint16_t kHalfExponent = 0x7C00;  // all of its bits: infinite or not a number

/// The element at `index`, wherever the file put it.
template <typename Value>
Value element(const StoredTensor& tensor, std::int64_t index) {
  Value value;
  std::memcpy(&value, tensor.data.data() + static_cast<std::size_t>(index) * sizeof(Value), sizeof(Value));
  return value;
}

const StoredTensor& expect(const SafetensorsFile& file, const std::string& name, DType dtype,
                           const std::vector<std::int64_t>& shape) {
  const StoredTensor& tensor = file.at(name);
  if (tensor.dtype != dtype || tensor.shape != shape) {
    throw InputError::of("{}: tensor {}: found {}[{}], expected {}[{}]", file.source(), name, name_of(tensor.dtype),
                         fmt::join(tensor.shape, ", "), name_of(dtype), fmt::join(shape, ", "));
  }
  return tensor;
}

/// The extents of a matrix whose size is not known yet.
std::pair<std::int64_t, std::int64_t> matrix(const SafetensorsFile& file, const std::string& name, DType dtype) {
  const StoredTensor& tensor = file.at(name);
  if (tensor.dtype != dtype || tensor.shape.size() != 2 || tensor.shape[0] < 1 || tensor.shape[1] < 1) {
    throw InputError::of("{}: tensor {}: found {}[{}], expected {} with 2 dimensions, neither empty", file.source(),
                         name, name_of(tensor.dtype), fmt::join(tensor.shape, ", "), name_of(dtype));
  }
  return {tensor.shape[0], tensor.shape[1]};
}

void check_embeddings(const RoutingTables& tables) {
  const StoredTensor& tensor = tables.embeddings.at("embeddings");
  for (std::int64_t i = 0; i < tables.queries * tables.embedding_width; ++i) {
    if ((element<std::uint16_t>(tensor, i) & kHalfExponent) == kHalfExponent) {
      throw InputError::of("{}: tensor embeddings: row {} has a number that is not finite", tables.embeddings.source(),
                           i / tables.embedding_width);
    }
  }
}

void check_flags(const RoutingTables& tables, const std::string& name) {
  const StoredTensor& tensor = tables.outcomes.at(name);
  for (std::int64_t i = 0; i < tables.queries * tables.models; ++i) {
    if (element<std::uint8_t>(tensor, i) > 1) {
      throw InputError::of("{}: tensor {}: found {} at row {}, column {}, expected 0 or 1", tables.outcomes.source(),
                           name, element<std::uint8_t>(tensor, i), i / tables.models, i % tables.models);
    }
  }
}

void check_queries(const RoutingTables& tables) {
  const std::string& source = tables.outcomes.source();
  const StoredTensor& ids = tables.outcomes.at("query_id");
  const StoredTensor& splits = tables.outcomes.at("split");
  std::map<std::int32_t, std::int64_t> row_of;
  std::array<std::int64_t, kSplits.size()> in_split{};
  for (std::int64_t row = 0; row < tables.queries; ++row) {
    const std::size_t split = element<std::uint8_t>(splits, row);
    if (split >= kSplits.size()) {
      throw InputError::of("{}: tensor split: found {} at row {}, expected 0, 1 or 2", source, split, row);
    }
    ++in_split.at(split);
    const auto id = element<std::int32_t>(ids, row);
    const auto [first, fresh] = row_of.emplace(id, row);
    if (fresh) {
      continue;
    }
    const std::size_t before = element<std::uint8_t>(splits, first->second);
    if (before != split) {
      throw InputError::of("{}: tensor query_id: query {} is in {} (row {}) and in {} (row {}), expected one of them",
                           source, id, kSplits.at(before), first->second, kSplits.at(split), row);
    }
    throw InputError::of("{}: tensor query_id: query {} stands in rows {} and {}, expected each query once", source, id,
                         first->second, row);
  }
  for (std::size_t split = 0; split < kSplits.size(); ++split) {
    if (in_split.at(split) == 0) {
      throw InputError::of("{}: tensor split: no row is {} ({}), expected some of each of 0, 1 and 2", source, split,
                           kSplits.at(split));
    }
  }
}

}  // namespace

RoutingTables read_routing_tables(const std::filesystem::path& folder) {
  static_assert(std::endian::native == std::endian::little, "safetensors stores little-endian numbers");
  RoutingTables tables{SafetensorsFile(folder / "embeddings.safetensors"),
                       SafetensorsFile(folder / "outcomes.safetensors")};
  const auto [queries, width] = matrix(tables.embeddings, "embeddings", DType::Float16);
  const auto [rows, models] = matrix(tables.outcomes, "correct", DType::UInt8);
  tables.queries = queries;
  tables.embedding_width = width;
  tables.models = models;
  expect(tables.outcomes, "correct", DType::UInt8, {queries, models});
  expect(tables.outcomes, "answered", DType::UInt8, {queries, models});
  expect(tables.outcomes, "output_chars", DType::UInt16, {queries, models});
  expect(tables.outcomes, "input_chars", DType::Int32, {queries});
  expect(tables.outcomes, "category", DType::UInt8, {queries});
  expect(tables.outcomes, "query_id", DType::Int32, {queries});
  expect(tables.outcomes, "split", DType::UInt8, {queries});
  check_embeddings(tables);
  check_flags(tables, "correct");
  check_flags(tables, "answered");
  check_queries(tables);
  return tables;
}

}  // namespace motley
