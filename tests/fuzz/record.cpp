// What a run leaves: a record of JSON lines, a trace in Chrome's format; one part of the input each.
#include <nlohmann/json.hpp>

#include "fuzz.h"
#include "motley/record/json_lines.h"
#include "motley/record/trace.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  std::string_view rest = fuzz::text_of(data, size);
  const std::filesystem::path record = fuzz::put("record.jsonl", fuzz::take_part(rest));
  fuzz::accepts([&] { (void)read_json_lines(record); });
  const std::filesystem::path trace = fuzz::put("trace.json", rest);
  fuzz::accepts([&] { (void)read_trace(trace); });
  return 0;
}
