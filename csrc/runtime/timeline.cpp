#include "motley/runtime/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace motley {
namespace {

/// "0SEND_F" of "0SEND_F3".
std::string_view kind_of(std::string_view label) {
  return label.substr(0, label.find('_') + 2);
}

}  // namespace

Timeline::Timeline(int rank, bool trace) : rank_(rank), trace_(trace), lane_(fmt::format("rank {}", rank)) {}

void Timeline::begin_step() {
  times_ = {};
  links_.clear();
  events_.clear();
  for (Span& span : spans_) {
    span.event = events_.size();
    if (trace_) {
      events_.push_back(event_of(span.kind, *span.label, {}, {}));
    }
  }
  for (auto& [link, free] : free_at_) free = {};
}

TraceEvent Timeline::event_of(Kind kind, const std::string& label, Seconds start, Seconds end) const {
  switch (kind) {
    case Kind::Wait:
      return {"wait " + label, "wait", "measured", lane_, start, end};
    case Kind::Update:
      return {label, "update", "measured", lane_, start, end};
    default:
      return {label, "compute", "measured", lane_, start, end};
  }
}

void Timeline::add(Kind kind, const std::string& label, ComputeDevice::Stamp start, ComputeDevice::Stamp end) {
  spans_.push_back({kind, &label, start, end, events_.size()});
  if (trace_) {
    events_.push_back(event_of(kind, label, {}, {}));
  }
}

void Timeline::computed(const std::string& label, bool update, ComputeDevice::Stamp start, ComputeDevice::Stamp end) {
  add(update ? Kind::Update : Kind::Compute, label, start, end);
}

void Timeline::waited(const std::string& label, ComputeDevice::Stamp start, ComputeDevice::Stamp end) {
  add(Kind::Wait, label, start, end);
}

void Timeline::waited(const std::string& label, Seconds start, Seconds end) {
  times_.waiting += end - start;
  if (trace_) {
    events_.push_back(event_of(Kind::Wait, label, start, end));
  }
}

bool Timeline::is_passed(ComputeDevice& device) const {
  return spans_.empty() || device.passed() > spans_.back().end;
}

void Timeline::resolve(ComputeDevice& device) {
  for (const Span& span : spans_) {
    const Seconds start = device.time_of(span.start);
    const Seconds end = device.time_of(span.end);
    (span.kind == Kind::Wait ? times_.waiting : times_.busy) += end - start;
    if (trace_) {
      events_[span.event].start = start;
      events_[span.event].end = end;
    }
  }
  spans_.clear();
  device.forget_stamps();
}

void Timeline::crossed(const std::string& label, int from, int to, Bytes bytes, Seconds start, Seconds end) {
  // An emulated link is free again at the end it computed, its message a timer's lateness after that.
  Seconds& free = free_at_[{from, to}];
  start = std::min(std::max(start, free), end);
  free = std::max(free, end);
  times_.transfer += end - start;
  const std::string_view kind = kind_of(label);
  auto link = std::find_if(links_.begin(), links_.end(), [&](const LinkTimes& known) {
    return known.from == from && known.to == to && known.kind == kind;
  });
  if (link == links_.end()) {
    link = links_.insert(links_.end(), {std::string(kind), from, to, 0, Bytes{}, Seconds{}});
  }
  ++link->messages;
  link->bytes += bytes;
  link->time += end - start;
  if (trace_) {
    events_.push_back({label, "transfer", "measured", fmt::format("rank {} to {}", from, to), start, end});
  }
}

}  // namespace motley
