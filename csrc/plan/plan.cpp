#include "motley/plan/plan.h"

#include <set>

#include "motley/base/error.h"

namespace motley {

void validate(const Plan& plan, int layers, int devices, const std::string& source) {
  if (plan.micro_batch_size < 1) {
    throw InputError::of("{}: micro_batch_size: found {}, expected at least 1", source, plan.micro_batch_size);
  }
  if (plan.micro_batches < 1) {
    throw InputError::of("{}: micro_batches: found {}, expected at least 1", source, plan.micro_batches);
  }
  if (plan.stages.empty()) {
    throw InputError::of("{}: stages: found none, expected at least one", source);
  }
  if (plan.stage_count() > layers) {
    throw InputError::of("{}: stages: found {} stages for {} layers, expected at most one stage a layer", source,
                         plan.stage_count(), layers);
  }
  std::set<int> used;
  int next_layer = 0;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    if (stage.first_layer != next_layer) {
      throw InputError::of("{}: stages[{}].first_layer: found {}, expected {} (where the stage before ends)", source, s,
                           stage.first_layer, next_layer);
    }
    if (stage.end_layer <= stage.first_layer || stage.end_layer > layers) {
      throw InputError::of("{}: stages[{}].end_layer: found {}, expected {} to {}", source, s, stage.end_layer,
                           stage.first_layer + 1, layers);
    }
    if (stage.warm_up < 0) {
      throw InputError::of("{}: stages[{}].warm_up: found {}, expected at least 0", source, s, stage.warm_up);
    }
    next_layer = stage.end_layer;
    if (stage.replicas.empty()) {
      throw InputError::of("{}: stages[{}].replicas: found none, expected at least one device", source, s);
    }
    std::int64_t next_sample = 0;
    for (const Replica& replica : stage.replicas) {
      if (replica.device < 0 || replica.device >= devices) {
        throw InputError::of("{}: stages[{}]: found device {}, expected 0 to {}", source, s, replica.device,
                             devices - 1);
      }
      if (!used.insert(replica.device).second) {
        throw InputError::of("{}: stages[{}]: device {} is used twice", source, s, replica.device);
      }
      if (replica.sample_begin != next_sample || replica.sample_end <= replica.sample_begin) {
        throw InputError::of("{}: stages[{}]: device {} owns samples [{}, {}), expected them to go on from {}", source,
                             s, replica.device, replica.sample_begin, replica.sample_end, next_sample);
      }
      next_sample = replica.sample_end;
    }
    if (next_sample != plan.micro_batch_size) {
      throw InputError::of("{}: stages[{}]: replicas own {} samples, expected the micro-batch's {}", source, s,
                           next_sample, plan.micro_batch_size);
    }
  }
  if (next_layer != layers) {
    throw InputError::of("{}: stages: the last stage ends at layer {}, expected {} (all layers of the model)", source,
                         next_layer, layers);
  }
}

}  // namespace motley
