#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/partitioner/search.h"
#include "motley/plan/files.h"

// plan_only PROFILE BATCH: the fastest plan as JSON.
int main(int argc, char** argv) {
  if (argc != 3) {
    return 2;
  }
  const motley::Profile profile = motley::read_profile(argv[1]);
  motley::SearchOptions options;
  options.global_batch = std::atoll(argv[2]);
  const motley::SearchResult result = motley::find_plan("exact", profile, options);
  if (const auto* found = std::get_if<motley::Found>(&result)) {
    std::cout << motley::to_json(found->plan) << '\n';
    return 0;
  }
  return 1;
}
