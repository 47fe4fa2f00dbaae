// Schedules as CSV: read, validated, lowered where they are valid, written and read again.
#include "fuzz.h"
#include "motley/schedule/lowering.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  fuzz::accepts([&] {
    const Schedule schedule = parse_csv(fuzz::text_of(data, size), "input");
    MOTLEY_CHECK(parse_csv(to_csv(schedule), "again") == schedule,
                 "a schedule that changes when it is written and read");
    if (!validate(schedule).empty()) {
      return;
    }
    const Schedule compute = compute_only(schedule);
    fuzz::accepts([&] { MOTLEY_CHECK(validate(add_transfers(compute)).empty(), "a valid schedule, lowered, is not"); });
  });
  return 0;
}
