// The layer graphs of dnn-partitioning.
#include "importer.h"
#include "motley/partitioner/importers/importers.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return motley::fuzz::import_as(motley::import_dnn_partitioning, "graph.json", data, size);
}
