#pragma once

#include <string>
#include <vector>

#include "motley/launcher/options.h"
#include "motley/partitioner/search.h"

namespace motley {

/// The options of a command that say what is searched: batch, sizes, schedules, features, objective, budgets.
class SearchArguments {
 public:
  void add_to(po::options_description& options);
  /// Throws InputError naming the flag for what cannot be read as one; the planner checks the rest.
  [[nodiscard]] SearchOptions read() const;

 private:
  SearchOptions options_;
  std::vector<std::string> schedules_;
  std::vector<std::string> allow_;
  std::string objective_;
  double time_limit_s_ = 0.0;
};

}  // namespace motley
