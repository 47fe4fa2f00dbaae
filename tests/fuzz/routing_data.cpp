// A folder of routing data: models.csv, meta.json, embeddings and outcomes, one part of the input each.
#include "motley/routing/routing_data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  std::string_view rest = fuzz::text_of(data, size);
  for (const char* name : {"models.csv", "meta.json", "embeddings.safetensors"}) {
    fuzz::put(name, fuzz::take_part(rest));
  }
  fuzz::put("outcomes.safetensors", rest);
  fuzz::accepts([&] {
    const RoutingData routing = read_routing_data(fuzz::folder());
    const std::size_t queries = routing.of_split(0).size() + routing.of_split(1).size() + routing.of_split(2).size();
    MOTLEY_CHECK(static_cast<std::int64_t>(queries) == routing.queries, "queries of no split");
    MOTLEY_CHECK(routing.correct.size() == queries * routing.model_count(), "outcomes of another shape");
  });
  return 0;
}
