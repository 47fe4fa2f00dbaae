#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "motley/partitioner/search.h"
#include "motley/partitioner/stage_tables.h"

namespace motley {

/// The passes of a stage in seconds, what its messages cost its device among them: I is what the stage before waits
/// for, backward what its device is busy with.
struct FreePasses {
  double forward = 0.0;
  double gradient = 0.0;  ///< min(I, B)
  double backward = 0.0;  ///< min(I + W, B)
  double update = 0.0;
};

/// The messages between a stage and the one before, in seconds; none before the first.
struct FreeMessages {
  double forward = 0.0;
  double backward = 0.0;
};

/// What a stage takes from when its first micro-batch was sent to it.
struct FreeDuration {
  double to_gradient = 0.0;  ///< until its last gradient
  double to_end = 0.0;       ///< until its last pass
};

/// What stages still to come cost at least, from when the stage before them has done its first forward.
struct FreeRest {
  double trip = 0.0;         ///< of the first micro-batch through all of them and back; infinite: none can follow
  double to_gradient = 0.0;  ///< until the stage before has the last gradient
  double to_end = 0.0;       ///< until the last of them has ended

  [[nodiscard]] static constexpr FreeRest none() {
    return {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity(),
            std::numeric_limits<double>::infinity()};
  }
};

/// Stages with one device each, for one micro-batch size and whatever order of passes, on classes of devices: those of
/// interchangeable_devices, or where the options fix their order each device for itself. O(classes * layers^2).
class FreeStages {
 public:
  FreeStages(const Profile& profile, const SearchOptions& options, std::int64_t size);

  [[nodiscard]] const std::vector<std::vector<int>>& classes() const { return classes_; }
  [[nodiscard]] int layers() const { return fused_.layers(); }
  [[nodiscard]] double micro_batches() const { return micro_batches_; }
  [[nodiscard]] double overhead() const { return fused_.overhead(); }  ///< of a pass, in each of them

  /// Layers [first, end) on class c.
  [[nodiscard]] const FreePasses& stage(int c, int first, int end) const { return stages_[index(c, first, end)]; }
  /// The same without messages.
  [[nodiscard]] FreePasses passes(int c, int first, int end) const;
  /// Between a stage of class `before` (-1: none) and one of class c that starts with layer `cut`.
  [[nodiscard]] FreeMessages messages(int before, int c, int cut) const;
  /// `trip`: of a micro-batch through all stages behind it and back.
  [[nodiscard]] FreeDuration duration(const FreePasses& of, const FreeMessages& from_before, double trip) const;

 private:
  [[nodiscard]] std::size_t index(int c, int first, int end) const {
    const auto width = static_cast<std::size_t>(layers()) + 1;
    return (static_cast<std::size_t>(c) * width + static_cast<std::size_t>(first)) * width +
           static_cast<std::size_t>(end);
  }

  std::int64_t size_;
  double micro_batches_;
  bool clip_;
  std::vector<std::vector<int>> classes_;
  StageTables fused_, apart_;
  std::vector<FreePasses> stages_;  // [class][first][end]
};

/// The least FreeRest by devices used, class of the stage before and first layer: each of its numbers the least of all
/// pipelines. A dynamic programme from the rests that use the most devices down, over classes; or where that would take
/// more than Completions::kMostWork steps, over groups of classes alike in type and host, or in type, with the fastest
/// of their links. O(N G^2 L^2) time and O(N G L) memory for N codes (numbers of devices used of each of G groups).
class FreeRests {
 public:
  /// Keeps a reference to `stages`.
  FreeRests(const FreeStages& stages, const Profile& profile, const SearchOptions& options);

  /// False: that would take too long, and nothing is known.
  [[nodiscard]] bool known() const { return !rests_.empty(); }
  /// What a device of class c more adds to the code of devices used.
  [[nodiscard]] std::size_t step(int c) const { return stride_[static_cast<std::size_t>(group_of_[c])]; }
  /// Behind a stage of class c that ends before layer `first`, with the devices used that `code` says, its own among
  /// them. Only where known.
  [[nodiscard]] const FreeRest& behind(std::size_t code, int c, int first) const {
    return rests_[index(code, static_cast<std::size_t>(group_of_[c]), first)];
  }

 private:
  struct Group {
    std::vector<int> classes;
    int devices = 0;
  };
  bool group_classes(const Profile& profile);
  void list_messages();
  void list_rests();
  [[nodiscard]] FreeRest least(std::size_t code, const std::vector<int>& used, int stages, std::size_t last,
                               int first) const;
  [[nodiscard]] std::size_t index(std::size_t code, std::size_t last, int first) const {
    return (code * groups_.size() + last) * (static_cast<std::size_t>(stages_.layers()) + 1) +
           static_cast<std::size_t>(first);
  }

  [[nodiscard]] std::size_t edge(int cut, std::size_t before, std::size_t group) const {
    return (static_cast<std::size_t>(cut) * groups_.size() + before) * groups_.size() + group;
  }

  const FreeStages& stages_;
  int most_;
  int fewest_;
  bool any_order_;
  std::vector<Group> groups_;
  std::vector<int> group_of_;        // [class]
  std::vector<std::size_t> stride_;  // [group], the digits of a mixed radix
  std::size_t codes_ = 1;
  std::vector<FreeMessages> messages_;  // [cut][group before][group]
  std::vector<FreeRest> rests_;         // [code][group][first]
};

}  // namespace motley
