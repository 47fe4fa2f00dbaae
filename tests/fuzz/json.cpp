// JSON values, walked through JsonField as the readers of profiles and plans do.
#include "fuzz.h"
#include "motley/plan/json_field.h"

namespace motley {
namespace {

void walk(const JsonField& field, const nlohmann::json& value) {
  fuzz::accepts([&] { (void)field.text(); });
  fuzz::accepts([&] { (void)field.integer(); });
  fuzz::accepts([&] { (void)field.number(); });
  fuzz::accepts([&] { (void)field.boolean(); });
  fuzz::accepts([&] { (void)field.seconds(); });
  fuzz::accepts([&] { (void)field.bytes(); });
  if (value.is_array()) {
    const std::vector<JsonField> items = field.items();
    for (std::size_t i = 0; i < items.size(); ++i) {
      walk(items[i], value[i]);
    }
  } else if (value.is_object()) {
    for (const std::string& key : field.keys()) {
      walk(field.at(key), value[key]);
    }
  }
}

}  // namespace
}  // namespace motley

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  fuzz::accepts([&] {
    const nlohmann::json value = parse_json(std::string(fuzz::text_of(data, size)), "input");
    walk(JsonField(value, "input"), value);
    MOTLEY_CHECK(parse_json(value.dump(), "again") == value, "JSON that changes when it is written and read");
  });
  return 0;
}
