#include <iostream>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/config/table_reader.h"
#include "motley/launcher/options.h"
#include "motley/partitioner/importers/importers.h"

namespace motley {

int command_import(const Invocation& invocation) {
  po::options_description options("options");
  std::vector<std::string> what;
  std::string out;
  options.add_options()("what", po::value(&what)->multitoken(), "KIND FILE; kinds: pipedream, dnn-partitioning")(
      "out", po::value(&out), "model to write")("json", "print the model as one JSON object");
  const auto values = parse_options(invocation, "import", "import KIND FILE --out MODEL",
                                    "motley import pipedream vgg16.graph.txt --out model.json", options, "what");
  if (!values) {
    return 0;
  }
  if (what.size() != 2) {
    throw InputError::of("motley import: found {} words, expected KIND FILE (motley import --help tells more)",
                         what.size());
  }
  const std::vector<std::string> kinds{"pipedream", "dnn-partitioning"};
  if (what[0] != kinds[0] && what[0] != kinds[1]) {
    const std::string near = nearest(what[0], kinds);
    throw InputError::of("motley import: found kind \"{}\", expected pipedream or dnn-partitioning{}", what[0],
                         near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
  }
  const ModelGraph graph = what[0] == kinds[0] ? import_pipedream(what[1]) : import_dnn_partitioning(what[1]);
  if (!out.empty()) {
    write_model_graph(out, graph);
  }
  if (values->contains("json")) {
    std::cout << to_json(graph) << '\n';
  } else {
    std::cout << fmt::format("{}: {} nodes in {} groups, {} edges{}\n", graph.name, graph.nodes.size(),
                             graph.group_count(), graph.edges.size(), out.empty() ? "" : ", written to " + out);
  }
  return 0;
}

}  // namespace motley
