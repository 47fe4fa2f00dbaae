#include "model.h"
#include "motley/launcher/command_line.h"
#include "motley/workloads/workload.h"

int main(int argc, char** argv) {
  motley::WorkloadRegistry workloads = motley::builtin_workloads();
  workloads.add("shapes", shapes::make_shapes);
  return motley::run_command_line(argc, argv, workloads);
}
