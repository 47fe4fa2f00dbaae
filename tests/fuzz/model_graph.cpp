// Model graphs: read, written and read again.
#include "motley/plan/model_graph.h"
#include "fuzz.h"
#include "motley/plan/json_field.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  fuzz::accepts([&] {
    const ModelGraph graph =
        model_graph_from_json(parse_json(std::string(fuzz::text_of(data, size)), "input"), "input");
    const nlohmann::json written = to_json(graph);
    MOTLEY_CHECK(to_json(model_graph_from_json(written, "again")) == written,
                 "a graph that changes when written and read");
    MOTLEY_CHECK(static_cast<int>(linear_order(graph).size()) == graph.group_count(), "groups without a place");
  });
  return 0;
}
