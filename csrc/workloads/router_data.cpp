#include "motley/workloads/router_data.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <array>
#include <cstring>
#include <numeric>

#include "motley/base/error.h"
#include "motley/record/safetensors.h"
#include "motley/workloads/layer.h"
#include "motley/workloads/tensor_types.h"

namespace motley {
namespace {

/// All of it in memory: whole tensors, and the rows of each split.
class TabledRouterData final : public RouterData {
 public:
  TabledRouterData(Fields tables, std::array<std::vector<std::int64_t>, 3> rows)
      : tables_(std::move(tables)), rows_(std::move(rows)) {}

  std::int64_t embedding_width() const override { return tables_.at("embedding").size(1); }
  std::int64_t models() const override { return tables_.at("correct").size(1); }

  std::int64_t size(Split split) const override { return static_cast<std::int64_t>(rows_of(split).size()); }

  std::vector<std::string> fields() const override {
    std::vector<std::string> names;
    for (const auto& [name, table] : tables_) {
      names.push_back(name);
    }
    return names;
  }

  Fields fetch(std::span<const std::string> names, Split split, std::span<const std::int64_t> samples) const override {
    const std::vector<std::int64_t>& rows = rows_of(split);
    at::Tensor index = at::empty({static_cast<std::int64_t>(samples.size())}, at::kLong);
    auto* to = index.mutable_data_ptr<std::int64_t>();
    for (const std::int64_t sample : samples) {
      MOTLEY_CHECK(sample >= 0 && sample < size(split), "sample {} of {}", sample, size(split));
      *to++ = rows[static_cast<std::size_t>(sample)];
    }
    Fields fields;
    for (const std::string& name : names) {
      const auto table = tables_.find(name);
      if (table == tables_.end()) {
        throw InputError::of("router data: found field \"{}\", expected one of: {}", name,
                             fmt::join(this->fields(), ", "));
      }
      fields[name] = table->second.index_select(0, index);
    }
    return fields;
  }

 private:
  const std::vector<std::int64_t>& rows_of(Split split) const { return rows_.at(static_cast<std::size_t>(split)); }

  Fields tables_;
  std::array<std::vector<std::int64_t>, 3> rows_;
};

// Lengths as the head predicts them: log1p, standardised per LLM by the training rows that were answered.
at::Tensor standardised(const at::Tensor& characters, const at::Tensor& answered,
                        const std::vector<std::int64_t>& train) {
  const at::Tensor logs = characters.to(at::kDouble).log1p();
  const at::Tensor counted = answered.to(at::kDouble);
  const at::Tensor index = at::empty({static_cast<std::int64_t>(train.size())}, at::kLong);
  std::copy(train.begin(), train.end(), index.mutable_data_ptr<std::int64_t>());
  const at::Tensor train_counted = counted.index_select(0, index);
  const at::Tensor train_logs = logs.index_select(0, index);
  const at::Tensor count = train_counted.sum(0).clamp_min(1.0);
  const at::Tensor mean = (train_logs * train_counted).sum(0) / count;
  const at::Tensor deviation = ((train_logs - mean).square() * train_counted).sum(0).div(count).sqrt().clamp_min(1e-6);
  return ((logs - mean) / deviation * counted).to(at::kFloat).contiguous();
}

at::Tensor load(const SafetensorsFile& file, const std::string& name, DType dtype, std::size_t dimensions) {
  const StoredTensor& stored = file.at(name);
  if (stored.dtype != dtype || stored.shape.size() != dimensions) {
    throw InputError::of("{}: tensor {}: found {}[{}], expected {} with {} dimensions", file.source(), name,
                         name_of(stored.dtype), fmt::join(stored.shape, ", "), name_of(dtype), dimensions);
  }
  at::Tensor tensor = at::empty(stored.shape, at::TensorOptions(scalar_type(dtype)));
  std::memcpy(tensor.mutable_data_ptr(), stored.data.data(), stored.data.size());
  return tensor;
}

}  // namespace

std::shared_ptr<const RouterData> read_router_data(const std::filesystem::path& folder) {
  const SafetensorsFile embeddings(folder / "embeddings.safetensors");
  const SafetensorsFile outcomes(folder / "outcomes.safetensors");
  const at::Tensor embedding = load(embeddings, "embeddings", DType::Float16, 2);
  const at::Tensor correct = load(outcomes, "correct", DType::UInt8, 2);
  const at::Tensor answered = load(outcomes, "answered", DType::UInt8, 2);
  const at::Tensor characters = load(outcomes, "output_chars", DType::UInt16, 2);
  const at::Tensor split = load(outcomes, "split", DType::UInt8, 1);
  const std::int64_t queries = embedding.size(0);
  for (const auto& [name, tensor] :
       Fields{{"correct", correct}, {"answered", answered}, {"output_chars", characters}, {"split", split}}) {
    if (tensor.size(0) != queries || (tensor.dim() == 2 && tensor.size(1) != correct.size(1))) {
      throw InputError::of("{}: tensor {}: found {} elements, expected {} queries of {} models", outcomes.source(),
                           name, tensor.numel(), queries, correct.size(1));
    }
  }
  std::array<std::vector<std::int64_t>, 3> rows;
  for (std::int64_t query = 0; query < queries; ++query) {
    const std::uint8_t part = split.const_data_ptr<std::uint8_t>()[query];
    if (part >= rows.size()) {
      throw InputError::of("{}: tensor split: found {} at row {}, expected 0, 1 or 2", outcomes.source(), part, query);
    }
    rows[part].push_back(query);
  }
  for (std::size_t part = 0; part < rows.size(); ++part) {
    if (rows[part].empty()) {
      throw InputError::of("{}: tensor split: no row is {}, expected some of each of 0, 1 and 2", outcomes.source(),
                           part);
    }
  }
  return std::make_shared<TabledRouterData>(Fields{{"embedding", embedding},
                                                   {"correct", correct.to(at::kFloat)},
                                                   {"length", standardised(characters, answered, rows[0])},
                                                   {"query", at::arange(queries, at::kLong)}},
                                            rows);
}

std::shared_ptr<const RouterData> synthetic_router_data(const SyntheticRouterOptions& options) {
  const std::int64_t held_out = std::max<std::int64_t>(options.samples / 10, 1);
  const std::int64_t queries = options.samples + 2 * held_out;
  const at::Generator generator = RandomKey{.seed = options.seed}.generator();
  at::Tensor embedding = at::randn({queries, options.embedding}, generator, at::TensorOptions(at::kFloat));
  embedding = embedding / embedding.norm(2, 1, true);
  const at::Tensor directions =
      at::randn({options.embedding, options.models}, generator, at::TensorOptions(at::kFloat));
  const at::Tensor noise = at::randn({queries, options.models}, generator, at::TensorOptions(at::kFloat));
  const at::Tensor skill = at::matmul(embedding, directions);
  std::array<std::vector<std::int64_t>, 3> rows{std::vector<std::int64_t>(static_cast<std::size_t>(options.samples)),
                                                std::vector<std::int64_t>(static_cast<std::size_t>(held_out)),
                                                std::vector<std::int64_t>(static_cast<std::size_t>(held_out))};
  std::iota(rows[0].begin(), rows[0].end(), std::int64_t{0});
  std::iota(rows[1].begin(), rows[1].end(), options.samples);
  std::iota(rows[2].begin(), rows[2].end(), options.samples + held_out);
  const at::Tensor characters = ((skill + noise * 0.5) * 0.5 + 6.0).exp();
  return std::make_shared<TabledRouterData>(
      Fields{{"embedding", embedding.to(at::kHalf)},
             {"correct", (skill + noise * 0.5).gt(0.0).to(at::kFloat)},
             {"length", standardised(characters, at::ones({queries, options.models}), rows[0])},
             {"query", at::arange(queries, at::kLong)}},
      rows);
}

}  // namespace motley
