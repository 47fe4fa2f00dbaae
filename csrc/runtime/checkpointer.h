#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "motley/base/units.h"
#include "motley/comm/communicator.h"
#include "motley/runtime/checkpoint.h"
#include "motley/stage/stage.h"

namespace motley {

/// Writes checkpoints while training goes on: the engine thread copies this rank's layers, a thread of its own writes
/// them. All ranks must see the same folder. A checkpoint is complete once rank 0 has written its manifest, which it
/// does when every rank says that its files are on the disk (StepSignals::durable); then older ones are removed.
///
/// A write that fails is told once as a warning and leaves the checkpoints before it as they are; training goes on.
/// Needs as much memory as the rank's parameters and optimiser state, beside the device's.
class Checkpointer {
 public:
  struct Options {
    std::filesystem::path folder;
    nlohmann::json settings;  ///< for the manifest
    int keep = 2;             ///< complete checkpoints that stay, at least 1
    int layers = 0;           ///< of the whole model
  };

  /// `communicator` must outlive it.
  Checkpointer(Communicator& communicator, Options options);
  /// Waits for the writer.
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  /// Collective, between the same two steps on every rank; `step` is the next one to do. Returns how long training
  /// stood still: the copy, and the rest of a save before it that is still going on.
  Seconds save(std::int64_t step, const std::map<int, Stage*>& stages);

  /// For StepSignals: last step saved of which this rank's files are on the disk; -1: none.
  [[nodiscard]] std::int64_t durable() const;

  /// What the ranks agreed on. On rank 0, has the manifest of that step written if it was not yet.
  void agreed(std::int64_t step);

  /// Collective: waits until all that was saved is complete. Throws Fault when the last save is not.
  void finish();

  /// Last complete checkpoint and how long its files took to write, as rank 0 knows it.
  struct Complete {
    std::filesystem::path folder;
    Seconds write_time;
  };
  [[nodiscard]] std::optional<Complete> complete() const;

 private:
  void work();
  void post(std::function<void()> task);
  void wait_idle();
  /// Collective: waits for the writers and agrees on what they wrote.
  void settle();
  void write_files(std::int64_t step, const std::map<int, std::vector<std::byte>>& layers);
  void write_complete(std::int64_t step);
  void remove_older(std::int64_t step);

  Communicator& communicator_;
  const Options options_;
  const int rank_;
  const int ranks_;
  std::int64_t saved_ = -1;   // engine thread
  std::int64_t agreed_ = -1;  // engine thread
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool busy_ = false;
  bool ending_ = false;
  bool warned_ = false;
  std::string failure_;
  std::int64_t durable_ = -1;
  Seconds write_time_;
  std::optional<Complete> complete_;
  std::thread thread_;
};

}  // namespace motley
