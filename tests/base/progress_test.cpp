#include "motley/base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <sstream>

#include "motley/base/log.h"

namespace motley {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// The log as text, until the end of the test.
class Log {
 public:
  explicit Log(spdlog::level::level_enum level = spdlog::level::info) : before_(spdlog::default_logger()) {
    auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
    logger->set_pattern("%v");
    logger->set_level(level);
    spdlog::set_default_logger(std::move(logger));
  }
  ~Log() { spdlog::set_default_logger(before_); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  [[nodiscard]] std::string text() const { return text_.str(); }
  [[nodiscard]] auto lines() const { return std::ranges::count(text(), '\n'); }

 private:
  std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

TEST(ClockText, IsHoursMinutesAndSeconds) {
  EXPECT_EQ(clock_text(Seconds{0.4}), "0:00");
  EXPECT_EQ(clock_text(Seconds{59.6}), "1:00");
  EXPECT_EQ(clock_text(Seconds{272.0}), "4:32");
  EXPECT_EQ(clock_text(Seconds{3725.0}), "1:02:05");
  EXPECT_EQ(clock_text(Seconds{-1.0}), "0:00");
}

TEST(Progress, SaysHowFastItGoesAndWhatIsLeft) {
  const TaskProgress progress({.task = "train", .total = 100, .unit = "samples", .units_per_part = 50.0, .first = 20});
  // Five steps in two seconds, after a resume at step 20.
  EXPECT_EQ(progress.words(25, "loss 0.5", Seconds{2.0}), "step 25/100 loss 0.5, 125 samples/s, 0:30 left");
  EXPECT_EQ(progress.words(100, "", Seconds{32.0}), "step 100/100, 125 samples/s, took 0:32");
  EXPECT_EQ(progress.words(20, "", Seconds{0.0}), "step 20/100");
}

TEST(Progress, TellsTheFirstTheLastAndEveryTenthWhereNobodyWatches) {
  const Log log;
  TaskProgress progress({.task = "train", .total = 160});
  for (int done = 1; done <= 160; ++done) {
    progress.update(done);
  }
  EXPECT_EQ(log.lines(), 11);
  EXPECT_THAT(log.text(), AllOf(testing::StartsWith("train: step 1/160"), HasSubstr("\ntrain: step 17/160"),
                                HasSubstr("\ntrain: step 160/160"), Not(HasSubstr("\x1b"))));
}

TEST(Progress, OfAShortTaskTellsTheEndAlone) {
  const Log log;
  TaskProgress progress({.task = "evaluate", .total = 1203, .part = "sample", .only_end = true});
  for (int done = 128; done < 1203; done += 128) {
    progress.update(done);
  }
  progress.update(1203);
  EXPECT_EQ(log.lines(), 1);
}

TEST(Progress, IsSilentWhereTheLogIsQuiet) {
  const Log log(spdlog::level::err);
  TaskProgress progress({.task = "train", .total = 2});
  progress.update(1);
  progress.update(2);
  Waiting("plan").phase("searching");
  EXPECT_EQ(log.text(), "");
}

TEST(Waiting, TellsItsPhasesWhereNobodyWatches) {
  const Log log;
  Waiting waiting("profile");
  waiting.phase("links");
  EXPECT_EQ(log.text(), "profile: links\n");
}

}  // namespace
}  // namespace motley
