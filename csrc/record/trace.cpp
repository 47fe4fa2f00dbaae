#include "motley/record/trace.h"

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"

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

std::vector<TraceEvent> read_trace(const std::filesystem::path& file) {
  const nlohmann::json json =
      nlohmann::json::parse(read_text(file, "a trace in Chrome's event format"), nullptr, false);
  if (json.is_discarded() || !json.is_object() || !json.contains("traceEvents")) {
    throw InputError::of("{}: is not a trace, expected a JSON object with \"traceEvents\"", file.string());
  }
  std::map<int, std::string> processes;
  std::map<std::pair<int, int>, std::string> lanes;
  std::vector<TraceEvent> events;
  std::size_t index = 0;
  try {
    for (const nlohmann::json& event : json.at("traceEvents")) {
      const auto phase = event.at("ph").get<std::string>();
      if (phase == "M" && event.at("name") == "process_name") {
        processes[event.at("pid").get<int>()] = event.at("args").at("name").get<std::string>();
      } else if (phase == "M" && event.at("name") == "thread_name") {
        lanes[{event.at("pid").get<int>(), event.at("tid").get<int>()}] =
            event.at("args").at("name").get<std::string>();
      } else if (phase == "X") {
        const Seconds start{event.at("ts").get<double>() * 1e-6};
        events.push_back({event.at("name").get<std::string>(), event.at("cat").get<std::string>(),
                          processes.at(event.at("pid").get<int>()),
                          lanes.at({event.at("pid").get<int>(), event.at("tid").get<int>()}), start,
                          start + Seconds{event.at("dur").get<double>() * 1e-6}});
      }
      ++index;
    }
  } catch (const nlohmann::json::exception& error) {
    throw InputError::of("{}: traceEvents[{}]: {}", file.string(), index, error.what());
  } catch (const std::out_of_range&) {
    throw InputError::of("{}: traceEvents[{}]: names a process or thread that no event before it names", file.string(),
                         index);
  }
  return events;
}

}  // namespace motley
