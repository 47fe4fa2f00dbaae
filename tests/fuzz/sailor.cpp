// Sailor's plan and its three tables, one part of the input each; the plan is priced where they fit.
#include <cmath>

#include "fuzz.h"
#include "motley/partitioner/importers/sailor.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  std::string_view rest = fuzz::text_of(data, size);
  for (const char* name : {"plan.json", "profiles_tmp.json", "llm_info.json"}) {
    fuzz::put(name, fuzz::take_part(rest));
  }
  fuzz::put("multizone_bandwidths_het.json", rest);
  fuzz::accepts([&] {
    const SailorPlan plan = read_sailor_plan(fuzz::folder() / "plan.json");
    constexpr int kSmall = 64;
    if (plan.micro_batches > kSmall) {
      return;
    }
    const SailorModel model(fuzz::folder(), plan.stages.back().end_layer, "");
    MOTLEY_CHECK(!std::isnan(model.predict(plan, {}).iteration.value), "a price that is no number");
  });
  return 0;
}
