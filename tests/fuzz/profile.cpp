// Profiles: read, written and read again.
#include "fuzz.h"
#include "motley/plan/files.h"
#include "motley/plan/json_field.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  fuzz::accepts([&] {
    const Profile profile = profile_from_json(parse_json(std::string(fuzz::text_of(data, size)), "input"), "input");
    const nlohmann::json written = to_json(profile);
    MOTLEY_CHECK(to_json(profile_from_json(written, "again")) == written,
                 "a profile that changes when written and read");
    MOTLEY_CHECK(fingerprint(profile).size() > 8, "no fingerprint");
  });
  return 0;
}
