// TOML configurations, with an assignment of --set where the input has a second part.
#include "motley/config/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  std::string_view rest = fuzz::text_of(data, size);
  const std::string_view text = fuzz::take_part(rest);
  std::vector<std::string> assignments;
  if (!rest.empty()) {
    assignments.emplace_back(rest);
  }
  fuzz::accepts([&] {
    const Config config = parse_config(text, "input", assignments);
    MOTLEY_CHECK(config.keys.size() > 30 && config.workload_options, "a configuration without its keys");
  });
  return 0;
}
