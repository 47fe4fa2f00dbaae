#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "motley/base/units.h"
#include "motley/comm/detail/label.h"
#include "motley/comm/detail/wire.h"
#include "motley/comm/transfer.h"

namespace motley {

class Endpoint;

/// What a Work handle shares with the owner thread. Filled in before it is handed to that thread, which alone completes
/// or fails it.
struct WorkState final : Transfer, std::enable_shared_from_this<WorkState> {
  enum class Status : int { Pending, Done, Failed };

  std::shared_ptr<Endpoint> endpoint;
  Label label;
  std::atomic<int> peer{-1};  ///< the rank it waits for now; a collective moves on
  MessageKind kind = MessageKind::Point;
  std::span<const std::byte> data;  ///< of a send
  std::span<std::byte> into;        ///< of a receive
  Seconds posted{};
  /// Of a part of a collective; called on the owner thread after the state is settled, failed or not.
  std::function<void()> on_settled;

  std::atomic<Status> status{Status::Pending};
  Seconds started{};     ///< written before `status`, on the owner thread
  Seconds finished{};    ///< likewise
  bool on_link = false;  ///< likewise; see Work::times_link()
  std::string error;     ///< likewise

  /// Fresh: for its first message or, where nobody holds a settled work any more, another one.
  void begin(std::string_view of, int with, MessageKind what);
  [[nodiscard]] Status settled() const { return status.load(std::memory_order_acquire); }
  void complete(Seconds now);
  void fail(const std::string& reason);

  [[nodiscard]] bool is_done() const override { return settled() != Status::Pending; }
  void wait() override;
  [[nodiscard]] Seconds start_time() const override { return started; }
  [[nodiscard]] Seconds end_time() const override { return finished; }
  [[nodiscard]] bool times_link() const override { return on_link; }

 private:
  void settle(Status outcome);
  void block();

  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace motley
