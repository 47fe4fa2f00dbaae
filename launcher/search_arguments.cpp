#include "motley/launcher/search_arguments.h"

#include <algorithm>
#include <utility>

namespace motley {
namespace {

/// The values of an option that may be given several times, each a list with commas.
std::vector<std::string> split(const std::vector<std::string>& values) {
  std::vector<std::string> all;
  for (const std::string& value : values) {
    for (std::size_t begin = 0; begin <= value.size();) {
      const std::size_t comma = std::min(value.find(',', begin), value.size());
      if (comma > begin) {
        all.push_back(value.substr(begin, comma - begin));
      }
      begin = comma + 1;
    }
  }
  return all;
}

}  // namespace

void SearchArguments::add_to(po::options_description& options) {
  options.add_options()("batch", po::value(&options_.global_batch), "samples an iteration")(
      "micro-batch-size", po::value(&options_.micro_batch_sizes)->multitoken(),
      "allowed sizes (default: every profiled one that divides the batch)")(
      "schedule", po::value(&schedules_)->multitoken(), "1f1b, gpipe, zero-bubble, interleaved-1f1b (default: 1f1b)")(
      "allow", po::value(&allow_)->multitoken(),
      "what the search may use as well: replicas, recompute, bfloat16, int8 (edges), or a schedule")(
      "objective", po::value(&objective_),
      "what is minimised: iteration (time), bottleneck (iterations overlap) or cost (USD per sample); default: "
      "iteration")("max-stages", po::value(&options_.max_stages), "0: no limit")(
      "max-replicas", po::value(&options_.max_replicas), "of a stage, 0: no limit")(
      "share-unit", po::value(&options_.share_unit), "samples by which replicas' shares differ, 0: an eighth or so")(
      "max-rounds", po::value(&options_.max_rounds), "most stages of a device under interleaved-1f1b (default: 2)")(
      "use-all-devices", po::bool_switch(&options_.use_all_devices), "leave none unused")(
      "budget", po::value(&options_.max_expansions), "nodes to search at most (default: 4000000)")(
      "time-limit", po::value(&time_limit_s_), "seconds to search at most, 0: no limit")(
      "gap", po::value(&options_.gap),
      "end once the plan is proven to be at most so far from the best, 0.02: 2 % (default: 0; bench planner asks "
      "parametric for 0.02 beyond 64 devices)")("threads", po::value(&options_.threads),
                                                "0: one a core; the plan does not depend on it");
}

SearchOptions SearchArguments::read() const {
  SearchOptions options = options_;
  if (!schedules_.empty()) {
    options.schedules = split(schedules_);
  }
  options.allow = split(allow_);
  if (!objective_.empty()) {
    options.objective = objective_by_name(objective_);
  }
  options.time_limit = Seconds{time_limit_s_};
  return options;
}

}  // namespace motley
