#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "motley/base/units.h"

namespace motley {

/// "1:07:05", "4:32", "0:09".
[[nodiscard]] std::string clock_text(Seconds time);

/// How a long task goes, on stderr: on a terminal a bar that is drawn over, with throughput and the time left;
/// elsewhere a line of the log at the beginning and at every tenth of the task. Nothing where the log is quiet. Not
/// thread-safe.
class TaskProgress {
 public:
  struct Options {
    std::string task;           ///< "train (exact)"
    std::int64_t total = 1;     ///< parts of the task
    std::string part = "step";  ///< what one is called
    std::string unit;           ///< of throughput, e.g. "samples"; empty: none is told
    double units_per_part = 1.0;
    std::int64_t first = 0;  ///< parts that were done before
    bool only_end = false;   ///< elsewhere than on a terminal: one line, at the end
  };

  explicit TaskProgress(Options options);
  /// Takes the bar away.
  ~TaskProgress();
  TaskProgress(const TaskProgress&) = delete;
  TaskProgress& operator=(const TaskProgress&) = delete;

  /// Parts done so far, `first` included, and what else a person wants to see of the last ("loss 0.8312").
  void update(std::int64_t done, const std::string& note = "");

  /// The text behind an update, without bar and control characters: for both ways of telling.
  [[nodiscard]] std::string words(std::int64_t done, const std::string& note, Seconds elapsed) const;

 private:
  using Clock = std::chrono::steady_clock;

  void draw(std::int64_t done, const std::string& text);

  Options options_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_{};
  std::int64_t next_line_;
  bool bar_shown_ = false;
};

/// How long a task takes whose length nobody knows. On a terminal a line that a thread of its own draws over; elsewhere
/// a line of the log for each phase. Nothing where the log is quiet.
class Waiting {
 public:
  explicit Waiting(std::string task);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  void phase(const std::string& name);

 private:
  void draw_until_stopped(const std::stop_token& stop);

  const std::string task_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::string phase_;
  std::jthread thread_;  // the last member: it uses the others
};

}  // namespace motley
