// PipeDream's graph.txt.
#include "importer.h"
#include "motley/partitioner/importers/importers.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return motley::fuzz::import_as(motley::import_pipedream, "graph.txt", data, size);
}
