#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "motley/partitioner/space.h"
#include "motley/partitioner/stage_tables.h"

namespace motley {

/// A crew as the search sees it: seats by class, with what of the micro-batch each has.
struct CrewOfClasses {
  struct Seat {
    int c = 0;
    int share = 0;  ///< index of its number of samples in the tables
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };
  std::vector<Seat> seats;
  double usd_per_hour = 0.0;
};

/// Crews that take the same devices from every class.
struct Team {
  std::vector<int> count;  ///< [class]
  int devices = 0;
  std::size_t stride = 0;  ///< what it adds to a code of devices used
  std::vector<CrewOfClasses> crews;
};

/// The part of the plan space with one micro-batch size and one schedule on classes of interchangeable devices. How
/// many devices of each class are used is one number, its code: the digits of a mixed radix.
/// /// Makes the search's tables: O(C S L + W C^2 L + crews).
class Corner {
 public:
  /// With `fixed_devices` > 0 exactly the devices 0 to fixed_devices - 1 are used, in this order, each a class of its
  /// own. `rounds` > 1: under interleaved-1f1b.
  Corner(const Profile& profile, const SearchOptions& options, std::int64_t size, std::string schedule, int rounds,
         int fixed_devices);

  [[nodiscard]] const Profile& profile() const { return *profile_; }
  [[nodiscard]] const SearchOptions& options() const { return *options_; }
  [[nodiscard]] const StageTables& tables() const { return tables_; }
  [[nodiscard]] const std::vector<Team>& teams() const { return teams_; }
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] std::int64_t micro_batches() const { return micro_batches_; }
  [[nodiscard]] const std::string& schedule() const { return schedule_; }
  [[nodiscard]] bool gpipe() const { return schedule_ == "gpipe"; }
  [[nodiscard]] bool apart() const { return schedule_ == "zero-bubble"; }
  [[nodiscard]] int rounds() const { return rounds_; }
  [[nodiscard]] int extra_warm_ups() const {
    return schedule_ == "1f1b" || schedule_ == "zero-bubble" ? kMostExtraWarmUp : 0;
  }
  [[nodiscard]] bool may_recompute() const { return may_recompute_; }
  [[nodiscard]] bool may_replicate() const { return may_replicate_; }
  [[nodiscard]] bool shares_nics() const { return shares_nics_; }
  /// In the tables: the whole micro-batch.
  [[nodiscard]] int whole_share() const { return whole_share_; }

  [[nodiscard]] int classes() const { return static_cast<int>(classes_.size()); }
  [[nodiscard]] int class_size(int c) const { return static_cast<int>(classes_[c].size()); }
  /// How many codes there are; 0: more than fit in a number.
  [[nodiscard]] std::size_t codes() const { return codes_; }
  /// What a code stands for. Only where codes() > 0.
  [[nodiscard]] std::vector<int> used_of(std::size_t code) const;
  /// Whether the team's devices are free beside those used by class, and the next in order where that is fixed.
  [[nodiscard]] bool may_place(const std::vector<int>& used, const Team& team) const;
  /// Whether another stage (group of devices) may come before `stages` of them.
  [[nodiscard]] bool may_go_on(int stages) const { return (stages + 1) * rounds_ <= most_stages_; }
  /// Whether a plan may have just these devices, by class.
  [[nodiscard]] bool may_end(const std::vector<int>& used) const;

  [[nodiscard]] std::int64_t in_flight(int depth) const {
    return gpipe() ? micro_batches_ : std::min<std::int64_t>(micro_batches_, depth);
  }
  /// A lower bound of the micro-batches that the stage with `after` stages behind it really keeps at once: zero-bubble
  /// starts no more than arrive before the first gradient does.
  [[nodiscard]] std::int64_t least_in_flight(int depth, int after) const {
    return apart() ? std::min<std::int64_t>(in_flight(depth), 2 * after + 1) : in_flight(depth);
  }
  /// Whether a seat's stage can fit.
  [[nodiscard]] bool fits(const CrewOfClasses::Seat& seat, int first, int end, std::int64_t in_flight,
                          bool recompute) const {
    return tables_.memory(seat.share, first, end, in_flight, recompute) <= tables_.capacity(seat.c);
  }

  /// Whether it can hold neither this stage nor, with more layers before, a longer one. (Recomputation keeps the input,
  /// and that of a longer stage may be smaller.)
  [[nodiscard]] bool is_too_long(const CrewOfClasses::Seat& seat, int first, int end) const {
    return !fits(seat, first, end, 1, false);
  }

  /// Seats by class, stage after stage, to seats by device: the lowest free one of each class. A crew that stands there
  /// again (interleaved) gives the same devices: pass each once.
  [[nodiscard]] std::vector<Crew> devices_of(const std::vector<const CrewOfClasses*>& crews) const;
  /// Seconds to sum the gradients of layers [first, end) over the crew.
  [[nodiscard]] double reduce(const CrewOfClasses& crew, int first, int end) const;

 private:
  const Profile* profile_;
  const SearchOptions* options_;
  std::int64_t size_;
  std::int64_t micro_batches_;
  std::string schedule_;
  int rounds_;
  int fixed_devices_;
  bool may_recompute_;
  bool may_replicate_;
  bool shares_nics_;
  int most_stages_;
  int whole_share_ = 0;
  std::vector<std::vector<int>> classes_;
  std::vector<std::size_t> stride_;
  std::size_t codes_ = 1;
  std::vector<Crew> crews_;
  StageTables tables_;
  std::vector<Team> teams_;
};

/// Every corner of the space but the plans of one stage on one device.
[[nodiscard]] std::vector<Corner> corners(const Profile& profile, const SearchOptions& options);

}  // namespace motley
