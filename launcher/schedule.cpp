#include "motley/schedule/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/base/nearest.h"
#include "motley/launcher/options.h"
#include "motley/launcher/show.h"
#include "motley/plan/limits.h"
#include "motley/plan/plan.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

constexpr std::string_view kInterleaved = "interleaved-1f1b";

/// The name of a schedule for so many stages, or a file.
Schedule schedule_from(const std::string& source, int stages, int ranks, int micro_batches) {
  if (std::filesystem::path(source).extension() == ".csv") {
    return read_csv(source);
  }
  if (stages < 1 || micro_batches < 1) {
    throw InputError::of(
        "motley schedule: {} needs --stages and --micro-batches, both at least 1 (a file is named *.csv)", source);
  }
  if (stages > kMostSamples / micro_batches) {
    throw InputError::of("motley schedule: found {} stages of {} micro-batches, expected at most {} forwards in all",
                         stages, micro_batches, kMostSamples);
  }
  if (source == kInterleaved) {
    if (ranks < 1) {
      throw InputError::of("motley schedule: {} needs --ranks, at least 1 and a divisor of --stages", source);
    }
    return interleaved_one_f_one_b(ranks, stages, micro_batches);
  }
  if (ranks != 0) {
    throw InputError::of("motley schedule: --ranks: found {}, expected none for {}: stage s is on rank s", ranks,
                         source);
  }
  std::vector<std::string> known(schedule_names().begin(), schedule_names().end());
  std::erase(known, "listed");
  if (std::ranges::find(known, source) == known.end()) {
    throw InputError::of("motley schedule: found \"{}\", expected a file named *.csv or {}", source,
                         one_of(source, known));
  }
  std::vector<int> warm_up;
  for (int stage = 0; stage < stages; ++stage) {
    warm_up.push_back(stages - stage);  // the textbook's
  }
  return make_schedule(source, micro_batches, warm_up);
}

bool has_transfers(const Schedule& schedule) {
  for (const std::vector<Action>& row : schedule.ranks) {
    for (const Action& action : row) {
      if (is_send(action.op) || is_receive(action.op)) {
        return true;
      }
    }
  }
  return false;
}

/// "compute": as PyTorch's golden files have it. "lowered": with transfers where the runtime wants them.
Schedule convert(const Schedule& schedule, const std::string& form, int receive_ahead) {
  Schedule compute = compute_only(schedule);
  if (form == "compute") {
    return compute;
  }
  if (form == "lowered") {
    return add_transfers(compute, receive_ahead);
  }
  if (form == "training") {
    return add_transfers(with_updates(std::move(compute), true), receive_ahead);
  }
  throw InputError::of("motley schedule: --to: found \"{}\", expected {}", form,
                       one_of(form, {"compute", "lowered", "training"}));
}

}  // namespace

int command_schedule(const Invocation& invocation) {
  po::options_description options("options");
  std::string source;
  std::string form;
  std::string out;
  int stages = 0;
  int ranks = 0;
  int micro_batches = 0;
  int receive_ahead = 2;
  options.add_options()("schedule", po::value(&source)->required(),
                        "a CSV file, or the name of a generator: 1f1b, gpipe, zero-bubble, interleaved-1f1b")(
      "stages", po::value(&stages), "of a generated schedule, stage s on rank s")(
      "ranks", po::value(&ranks)->default_value(0, ""), "of interleaved-1f1b, stage s on rank s modulo this")(
      "micro-batches", po::value(&micro_batches), "of a generated schedule")(
      "to", po::value(&form),
      "print as CSV: compute (what PyTorch's CSV files have), lowered (with Motley's transfers) or training (with NORM "
      "and UPDATE too)")("receive-ahead", po::value(&receive_ahead)->default_value(2),
                         "receives posted ahead when transfers are added")("out", po::value(&out),
                                                                           "file for the CSV instead of stdout")(
      "sends-wait", "validate for an engine whose sends wait for their receive")(
      "receives-wait", "validate for an engine whose receives wait for their data");
  const auto values = parse_options(invocation, "schedule", "schedule FILE.csv|NAME [--to FORM] [--out FILE]",
                                    "motley schedule 1f1b --stages 4 --micro-batches 8", options, "schedule");
  if (!values) {
    return 0;
  }
  if (form.empty() && !out.empty()) {
    throw InputError("motley schedule: --out needs --to, which says what to write");
  }
  const Schedule schedule = schedule_from(source, stages, ranks, micro_batches);
  const ValidationOptions engine{.sends_wait = values->contains("sends-wait"),
                                 .receives_wait = values->contains("receives-wait")};
  const bool waits = engine.sends_wait || engine.receives_wait;
  const std::vector<Problem> problems =
      validate(waits && !has_transfers(schedule) ? add_transfers(schedule, receive_ahead) : schedule, engine);
  const bool runs =
      std::ranges::all_of(problems, [](const Problem& problem) { return problem.kind == Problem::Kind::WeightOrder; });
  if (form.empty()) {
    std::cout << in_words(schedule);
  }
  if (!form.empty() || waits) {
    for (const Problem& problem : problems) {
      std::cerr << "motley schedule: " << source << ": " << problem.message << '\n';
    }
  }
  if (!form.empty() && runs) {
    const std::string csv = to_csv(convert(schedule, form, receive_ahead));
    if (out.empty()) {
      std::cout << csv;
    } else {
      write_durably(out, csv);
    }
  }
  return runs ? 0 : 2;
}

}  // namespace motley
