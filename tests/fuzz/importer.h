#pragma once

#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "motley/plan/model_graph.h"

namespace motley::fuzz {

/// What an importer makes of the input must be a graph that its own file holds.
template <typename Importer>
int import_as(Importer&& importer, const char* name, const std::uint8_t* data, std::size_t size) {
  const std::filesystem::path file = put(name, text_of(data, size));
  accepts([&] {
    const ModelGraph graph = importer(file);
    const nlohmann::json written = to_json(graph);
    MOTLEY_CHECK(to_json(model_graph_from_json(written, "again")) == written,
                 "a graph that changes when written and read");
  });
  return 0;
}

}  // namespace motley::fuzz
