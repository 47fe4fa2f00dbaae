#include "motley/launcher/command_line.h"
#include "motley/workloads/workload.h"

int main(int argc, char** argv) {
  return motley::run_command_line(argc, argv, motley::builtin_workloads());
}
