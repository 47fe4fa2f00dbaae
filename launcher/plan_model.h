#pragma once

#include <string>

namespace motley {

/// What `motley plan --model` was asked.
struct ModelQuestion {
  std::string model_file;
  std::string objective;
  int devices = 0;  ///< 0: not given
  double bandwidth = 0.0;
  bool devices_from_model = false;
  bool pipedream_cost = false;
  bool linearise = false;
  bool json = false;
};

/// Plans a model graph and prints the plan. Returns the exit code.
int plan_model(const ModelQuestion& question);

}  // namespace motley
