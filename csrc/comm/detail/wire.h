#pragma once

#include <array>
#include <cstdint>

#include "motley/comm/detail/label.h"

// What crosses a connection. Hosts must agree on byte order, which the magic numbers check.
namespace motley {

enum class MessageKind : std::uint32_t { Point = 1, Gather = 2, Reduce = 3, Barrier = 4 };

/// Goes before every payload.
struct MessageHeader {
  static constexpr std::uint32_t kMagic = 0x4d4f5459;

  std::uint32_t magic = kMagic;
  MessageKind kind = MessageKind::Point;
  std::uint64_t size = 0;
  /// Seconds for which the sender holds the message back; above 0 a release follows the payload.
  double hold = 0.0;
  Label label;
};
static_assert(sizeof(MessageHeader) == 64);

using RunToken = std::array<std::uint8_t, 16>;

/// The first words on a new connection.
struct Hello {
  static constexpr std::uint64_t kMagic = 0x6d6f746c65793031;  // "motley01"

  std::uint64_t magic = kMagic;
  RunToken token{};
  std::int32_t from = 0;
  std::int32_t to = 0;
  std::uint32_t stream = 0;  ///< counts the connections between two ranks; 0 is the control connection
  std::uint32_t padding = 0;
  std::uint64_t members = 0;  ///< fingerprint of the ranks that share this kind of connection
};
static_assert(sizeof(Hello) == 48);

/// The answer to a good Hello.
constexpr std::uint8_t kWelcome = 0x57;

/// Frames of the control connection: this, then `length` bytes.
enum class ControlKind : std::uint32_t {
  Heartbeat = 1,
  Abort = 2,
  Goodbye = 3,
  GoodbyeSeen = 4,
  Lost = 5,
  ByInput = 6
};

struct ControlHeader {
  ControlKind kind = ControlKind::Heartbeat;
  std::uint32_t length = 0;
};

struct Heartbeat {
  Label action;
  Label wait_label;
  double action_seconds = 0.0;
  double wait_seconds = 0.0;
  std::int32_t waiting_for = -1;
  std::uint32_t waiting = 0;
};

constexpr std::uint32_t kLongestControlBody = 4096;

}  // namespace motley
