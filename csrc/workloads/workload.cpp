#include "motley/workloads/workload.h"

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/workloads/router.h"
#include "motley/workloads/transformer.h"

namespace motley {

std::vector<Boundary> boundaries_of(const Workload& workload) {
  std::vector<Boundary> boundaries{{}};
  for (std::size_t i = 0; i < workload.layers.size(); ++i) {
    const Layer& layer = *workload.layers[i];
    boundaries.push_back(layer.output(boundaries.back()));
    const bool last = i + 1 == workload.layers.size();
    if (last != boundaries.back().empty()) {
      throw InputError::of("workload {}: layer {} ({} of {}) hands on ({}), expected {}", workload.name, layer.name(),
                           i + 1, workload.layers.size(), to_string(boundaries.back()),
                           last ? "nothing: the last layer gives the loss" : "at least one tensor");
    }
  }
  return boundaries;
}

std::shared_ptr<const toml::table> workload_options(std::string_view toml) {
  return std::make_shared<toml::table>(toml::parse(toml));
}

void WorkloadRegistry::add(const std::string& name, Factory factory) {
  if (!factories_.emplace(name, std::move(factory)).second) {
    throw InputError::of("workload \"{}\" is registered twice", name);
  }
}

Workload WorkloadRegistry::make(const WorkloadConfig& config) const {
  const auto found = factories_.find(config.name);
  if (found == factories_.end()) {
    throw InputError::of("{}: unknown workload \"{}\", expected {}", config.source, config.name,
                         one_of(config.name, names()));
  }
  return found->second(config);
}

std::vector<std::string> WorkloadRegistry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, factory] : factories_) {
    names.push_back(name);
  }
  return names;
}

WorkloadRegistry builtin_workloads() {
  WorkloadRegistry registry;
  registry.add("router", make_router);
  registry.add("transformer", make_transformer);
  return registry;
}

}  // namespace motley
