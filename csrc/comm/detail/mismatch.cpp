#include "motley/comm/detail/mismatch.h"

#include <fmt/format.h>

#include "motley/comm/detail/work_state.h"

namespace motley {
namespace {

std::string_view name_of(MessageKind kind) {
  switch (kind) {
    case MessageKind::Point:
      return "message";
    case MessageKind::Gather:
      return "all-gather";
    case MessageKind::Reduce:
      return "all-reduce";
    case MessageKind::Barrier:
      return "barrier";
  }
  return "unknown operation";
}

}  // namespace

std::string mismatch(const MessageHeader& header, const WorkState& work, int sender, int receiver) {
  if (header.kind != work.kind) {
    return fmt::format("rank {} is at the {} {} while rank {} is at the {} {}", sender, name_of(header.kind),
                       header.label.view(), receiver, name_of(work.kind), work.label.view());
  }
  if (header.size != work.into.size()) {
    return fmt::format("rank {} sent {} bytes as {} to rank {}, which expected {} bytes as {}", sender, header.size,
                       header.label.view(), receiver, work.into.size(), work.label.view());
  }
  return "";
}

}  // namespace motley
