#include "motley/base/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "motley/base/log.h"

namespace motley {
namespace {

constexpr std::int64_t kLines = 10;                      // of a log that is no terminal
constexpr std::chrono::milliseconds kBetweenFrames{80};  // a person sees no more
constexpr std::chrono::milliseconds kBetweenTicks{250};
constexpr double kPatience_s = 0.3;  // what ends before is not worth a line
constexpr std::size_t kWidestBar = 30;
constexpr std::size_t kNarrowestBar = 8;

}  // namespace

std::string clock_text(Seconds time) {
  const auto all = static_cast<std::int64_t>(std::llround(std::max(0.0, time.value)));
  const std::int64_t hours = all / 3600;
  const std::int64_t minutes = all / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, all % 60)
                   : fmt::format("{}:{:02}", minutes, all % 60);
}

TaskProgress::TaskProgress(Options options)
    : options_(std::move(options)), next_line_(options_.only_end ? options_.total : options_.first) {}

TaskProgress::~TaskProgress() {
  if (bar_shown_) {
    draw_below_log("");
  }
}

std::string TaskProgress::words(std::int64_t done, const std::string& note, Seconds elapsed) const {
  std::string text = fmt::format("{} {}/{}", options_.part, done, options_.total);
  if (!note.empty()) {
    text += ' ' + note;
  }
  const std::int64_t parts = done - options_.first;
  if (parts > 0 && elapsed.value > 0.0) {
    if (!options_.unit.empty()) {
      text += fmt::format(", {:.0f} {}/s", static_cast<double>(parts) * options_.units_per_part / elapsed.value,
                          options_.unit);
    }
    const Seconds left = elapsed * (static_cast<double>(options_.total - done) / static_cast<double>(parts));
    text += done < options_.total ? fmt::format(", {} left", clock_text(left))
                                  : fmt::format(", took {}", clock_text(elapsed));
  }
  return text;
}

void TaskProgress::update(std::int64_t done, const std::string& note) {
  if (!spdlog::should_log(spdlog::level::info)) {
    return;
  }
  const auto now = Clock::now();
  const Seconds elapsed{std::chrono::duration<double>(now - start_).count()};
  const bool last = done >= options_.total;
  if (log_columns() > 0 && !last) {
    if (now - drawn_ >= kBetweenFrames) {
      drawn_ = now;
      draw(done, words(done, note, elapsed));
    }
    return;
  }
  if (last || done >= next_line_) {
    next_line_ = done + std::max<std::int64_t>(1, options_.total / kLines);
    spdlog::info("{}: {}", options_.task, words(done, note, elapsed));
    bar_shown_ = false;
  }
}

void TaskProgress::draw(std::int64_t done, const std::string& text) {
  const std::size_t columns = log_columns();
  const std::size_t taken = options_.task.size() + text.size() + 5;
  std::string line = options_.task + ' ';
  if (columns > taken + kNarrowestBar) {
    const std::size_t width = std::min(kWidestBar, columns - taken);
    const double share = static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(1, options_.total));
    const auto full = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width));
    line += fmt::format("[{}{}] ", std::string(full, '#'), std::string(width - full, '-'));
  }
  line += text;
  // A line that wraps could not be drawn over.
  draw_below_log(line.substr(0, columns - 1));
  bar_shown_ = true;
}

Waiting::Waiting(std::string task) : task_(std::move(task)) {
  if (log_columns() > 0 && spdlog::should_log(spdlog::level::info)) {
    thread_ = std::jthread([this](const std::stop_token& stop) { draw_until_stopped(stop); });
  }
}

Waiting::~Waiting() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
    draw_below_log("");
  }
}

void Waiting::phase(const std::string& name) {
  if (!thread_.joinable()) {
    spdlog::info("{}: {}", task_, name);
    return;
  }
  const std::lock_guard lock(mutex_);
  phase_ = name;
  changed_.notify_one();
}

void Waiting::draw_until_stopped(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const Seconds elapsed{std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count()};
    if (elapsed.value > kPatience_s) {
      const std::string line =
          fmt::format("{}: {}{}{}", task_, phase_, phase_.empty() ? "" : ", ", clock_text(elapsed));
      draw_below_log(line.substr(0, log_columns() - 1));
    }
    (void)changed_.wait_for(lock, stop, kBetweenTicks, [] { return false; });
  }
}

}  // namespace motley
