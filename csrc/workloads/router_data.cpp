#include "motley/workloads/router_data.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <array>
#include <cstring>
#include <numeric>

#include "motley/base/error.h"
#include "motley/record/routing_tables.h"
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

at::Tensor load(const SafetensorsFile& file, const std::string& name) {
  const StoredTensor& stored = file.at(name);
  at::Tensor tensor = at::empty(stored.shape, at::TensorOptions(scalar_type(stored.dtype)));
  std::memcpy(tensor.mutable_data_ptr(), stored.data.data(), stored.data.size());
  return tensor;
}

}  // namespace

std::shared_ptr<const RouterData> read_router_data(const std::filesystem::path& folder) {
  const RoutingTables tables = read_routing_tables(folder);
  const at::Tensor split = load(tables.outcomes, "split");
  std::array<std::vector<std::int64_t>, 3> rows;
  for (std::int64_t query = 0; query < tables.queries; ++query) {
    rows.at(split.const_data_ptr<std::uint8_t>()[query]).push_back(query);
  }
  const at::Tensor lengths =
      standardised(load(tables.outcomes, "output_chars"), load(tables.outcomes, "answered"), rows[0]);
  return std::make_shared<TabledRouterData>(Fields{{"embedding", load(tables.embeddings, "embeddings")},
                                                   {"correct", load(tables.outcomes, "correct").to(at::kFloat)},
                                                   {"length", lengths},
                                                   {"query", at::arange(tables.queries, at::kLong)}},
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
