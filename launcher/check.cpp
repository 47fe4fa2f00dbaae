#include "motley/partitioner/check.h"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/launcher/options.h"
#include "motley/plan/files.h"

namespace motley {

/// Exit code 0: nothing wrong; 1: something is, each on a line of its own.
int command_check(const Invocation& invocation) {
  po::options_description options("options");
  std::string profile_file;
  std::string plan_file;
  options.add_options()("profile", po::value(&profile_file)->required(), "profile.json")(
      "plan", po::value(&plan_file)->required(), "plan.json")("json", "print one JSON object");
  const auto values = parse_options(invocation, "check", "check --profile FILE --plan FILE [--json]",
                                    "motley check --profile run/quickstart/profile.json --plan plan.json", options, "");
  if (!values) {
    return 0;
  }
  const Profile profile = read_profile(profile_file);
  const Plan plan = read_plan(plan_file);
  const SearchOptions space = space_of(plan);
  const Checked checked = check_plan(plan, profile, space);
  const bool sound = checked.problems.empty();
  if (values->contains("json")) {
    nlohmann::json object = {{"sound", sound}, {"problems", checked.problems}};
    if (plan.certificate) {
      object["lower_bound_s"] = plan.certificate->lower_bound.value;
      object["gap"] = plan.certificate->gap;
      object["proven_bound_s"] = checked.proven_bound.value;
      object["how"] = checked.how;
    }
    std::cout << object << '\n';
    return sound ? 0 : 1;
  }
  for (const std::string& problem : checked.problems) {
    std::cout << "wrong: " << problem << '\n';
  }
  if (sound) {
    std::cout << "the plan is what it says\n";
  }
  if (plan.certificate) {
    std::cout << fmt::format("bound: {:.6g} s claimed (gap {:.2f} %), {:.6g} s shown {}\nspace: {}\n",
                             plan.certificate->lower_bound.value, 100.0 * plan.certificate->gap,
                             checked.proven_bound.value, checked.how, plan.certificate->space);
  } else {
    std::cout << "it carries no certificate\n";
  }
  return sound ? 0 : 1;
}

}  // namespace motley
