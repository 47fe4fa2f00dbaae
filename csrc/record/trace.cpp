#include "motley/record/trace.h"

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"

namespace motley {

void write_trace(const std::filesystem::path& file, const std::vector<TraceEvent>& events) {
  nlohmann::json list = nlohmann::json::array();
  std::map<std::string, int> processes;
  std::map<std::pair<std::string, std::string>, int> lanes;
  for (const TraceEvent& event : events) {
    const auto [process, new_process] = processes.emplace(event.process, static_cast<int>(processes.size()) + 1);
    if (new_process) {
      list.push_back(
          {{"ph", "M"}, {"name", "process_name"}, {"pid", process->second}, {"args", {{"name", event.process}}}});
    }
    const auto [lane, new_lane] =
        lanes.emplace(std::pair(event.process, event.lane), static_cast<int>(lanes.size()) + 1);
    if (new_lane) {
      list.push_back({{"ph", "M"},
                      {"name", "thread_name"},
                      {"pid", process->second},
                      {"tid", lane->second},
                      {"args", {{"name", event.lane}}}});
    }
    list.push_back({{"ph", "X"},
                    {"name", event.name},
                    {"cat", event.category},
                    {"pid", process->second},
                    {"tid", lane->second},
                    {"ts", event.start.value * 1e6},
                    {"dur", (event.end - event.start).value * 1e6}});
  }
  if (file.has_parent_path()) {
    std::filesystem::create_directories(file.parent_path());
  }
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << nlohmann::json{{"traceEvents", std::move(list)}, {"displayTimeUnit", "ms"}}.dump() << '\n';
  out.flush();
  if (!out) {
    throw Fault::of("{}: cannot be written", file.string());
  }
}

}  // namespace motley
