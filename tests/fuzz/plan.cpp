// Plans: read, written and read again; small ones are lowered as for training.
#include <algorithm>

#include "fuzz.h"
#include "motley/plan/files.h"
#include "motley/plan/json_field.h"
#include "motley/schedule/costs.h"
#include "motley/schedule/lowering.h"

namespace {

constexpr int kSmall = 64;  // stages, devices, micro-batches: larger ones only cost time

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  fuzz::accepts([&] {
    const Plan plan = plan_from_json(parse_json(std::string(fuzz::text_of(data, size)), "input"), "input");
    const nlohmann::json written = to_json(plan);
    MOTLEY_CHECK(to_json(plan_from_json(written, "again")) == written,
                 "a plan that changes when it is written and read");
    int devices = 0;
    for (const StagePlan& stage : plan.stages) {
      for (const Replica& replica : stage.replicas) {
        devices = std::max(devices, replica.device + 1);
      }
    }
    if (devices <= kSmall && plan.micro_batches <= kSmall && plan.stage_count() <= kSmall) {
      (void)validate(schedule_of(plan, devices, true));
    }
  });
  return 0;
}
