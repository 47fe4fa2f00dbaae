#include "motley/workloads/layer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/ranges.h>

#include "motley/base/error.h"
#include "motley/kernels/mix.h"

namespace motley {

using kernels::mix;

std::int64_t ParameterSpec::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    count *= size;
  }
  return count;
}

std::uint64_t RandomKey::hash(std::uint64_t site) const {
  std::uint64_t state = mix(seed);
  for (const std::uint64_t part : {static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(layer),
                                   static_cast<std::uint64_t>(micro_batch), site}) {
    state = mix(state ^ part);
  }
  return state;
}

at::Generator RandomKey::generator() const {
  return at::detail::createCPUGenerator(mix(hash() ^ static_cast<std::uint64_t>(first_sample)));
}

void expect_input(const Layer& layer, const Boundary& input, const Boundary& expected) {
  bool fits = input.size() == expected.size();
  for (std::size_t i = 0; fits && i < input.size(); ++i) {
    fits = input[i].shape == expected[i].shape && input[i].dtype == expected[i].dtype;
  }
  if (!fits) {
    throw InputError::of("layer {}: handed ({}), expected ({})", layer.name(), to_string(input), to_string(expected));
  }
}

const at::Tensor& field_of(const LayerContext& context, const Layer& layer, const std::string& name) {
  if (context.fields != nullptr) {
    if (const auto found = context.fields->find(name); found != context.fields->end()) {
      return found->second;
    }
  }
  std::vector<std::string> there;
  for (const auto& [key, value] : context.fields == nullptr ? Fields{} : *context.fields) {
    there.push_back(key);
  }
  throw InputError::of("layer {}: needs the field \"{}\", the micro-batch has ({})", layer.name(), name,
                       fmt::join(there, ", "));
}

}  // namespace motley
