#include "motley/schedule/schedule.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "motley/base/error.h"
#include "motley/base/file.h"

namespace motley {
namespace {

template <typename Visit>
void for_each_part(const Schedule& schedule, Visit&& visit) {
  for (int rank = 0; rank < schedule.rank_count(); ++rank) {
    for (const Action& action : schedule.ranks[static_cast<std::size_t>(rank)]) {
      if (action.op == Op::OverlapForwardBackward) {
        for (const Action& part : action.parts) {
          visit(rank, part);
        }
      } else if (action.op != Op::Idle) {
        visit(rank, action);
      }
    }
  }
}

}  // namespace

int Schedule::stage_count() const {
  int count = 0;
  for_each_part(*this, [&](int, const Action& action) { count = std::max(count, action.stage + 1); });
  return count;
}

int Schedule::micro_batch_count() const {
  int count = 0;
  for_each_part(*this, [&](int, const Action& action) { count = std::max(count, action.micro_batch + 1); });
  return count;
}

std::vector<std::vector<int>> Schedule::ranks_of_stage() const {
  std::vector<std::vector<int>> ranks_of(static_cast<std::size_t>(stage_count()));
  for_each_part(*this, [&](int rank, const Action& action) {
    std::vector<int>& of = ranks_of[static_cast<std::size_t>(action.stage)];
    if (is_compute(action.op) && (of.empty() || of.back() != rank)) {
      of.push_back(rank);
    }
  });
  for (std::size_t stage = 0; stage < ranks_of.size(); ++stage) {
    if (ranks_of[stage].empty()) {
      throw InputError::of("schedule: stage {} is computed on no rank", stage);
    }
  }
  return ranks_of;
}

std::vector<int> Schedule::rank_of_stage() const {
  std::vector<int> owners;
  for (const std::vector<int>& of_stage : ranks_of_stage()) {
    if (of_stage.size() > 1) {
      throw InputError::of("schedule: stage {} is computed on rank {} and on rank {}, expected one rank", owners.size(),
                           of_stage[0], of_stage[1]);
    }
    owners.push_back(of_stage.front());
  }
  return owners;
}

std::vector<std::string> csv_rows(const Schedule& schedule) {
  std::vector<std::string> rows;
  for (const std::vector<Action>& row : schedule.ranks) {
    std::string& text = rows.emplace_back();
    for (std::size_t column = 0; column < row.size(); ++column) {
      text += (column > 0 ? "," : "") + to_string(row[column]);
    }
  }
  return rows;
}

std::string to_csv(const Schedule& schedule) {
  return fmt::format("{}\n", fmt::join(csv_rows(schedule), "\n"));
}

Schedule parse_csv(std::string_view text, const std::string& source) {
  Schedule schedule;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    std::string_view row = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (row.ends_with('\r')) {
      row.remove_suffix(1);
    }
    std::vector<Action>& actions = schedule.ranks.emplace_back();
    if (row.empty()) {
      continue;
    }
    while (true) {
      const std::size_t comma = row.find(',');
      try {
        actions.push_back(parse_action(row.substr(0, comma)));
      } catch (const InputError& error) {
        throw InputError::of("{}: row {}, column {}: {}", source, schedule.ranks.size(), actions.size() + 1,
                             error.what());
      }
      if (comma == std::string_view::npos) {
        break;
      }
      row.remove_prefix(comma + 1);
    }
  }
  if (schedule.ranks.empty()) {
    throw InputError::of("{}: found no rows, expected one a rank", source);
  }
  return schedule;
}

Schedule read_csv(const std::filesystem::path& file) {
  const std::string text = read_text(file, "a schedule CSV");
  return parse_csv(text, file.string());
}

}  // namespace motley
