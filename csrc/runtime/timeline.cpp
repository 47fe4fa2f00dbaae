#include "motley/runtime/timeline.h"

#include <fmt/format.h>

#include <algorithm>

namespace motley {

Timeline::Timeline(int rank, bool trace) : rank_(rank), trace_(trace), lane_(fmt::format("rank {}", rank)) {}

void Timeline::begin_step() {
  times_ = {};
  events_.clear();
  link_free_.clear();
}

void Timeline::computed(const std::string& label, bool update, Seconds start, Seconds end) {
  times_.busy += end - start;
  if (trace_) {
    events_.push_back({label, update ? "update" : "compute", "measured", lane_, start, end});
  }
}

void Timeline::waited(const std::string& label, Seconds start, Seconds end) {
  times_.waiting += end - start;
  if (trace_) {
    events_.push_back({"wait " + label, "wait", "measured", lane_, start, end});
  }
}

void Timeline::sent(const std::string& label, int to, Seconds start, Seconds end) {
  // An emulated link is free again at the end it computed, its message a timer's lateness after that.
  Seconds& link_free = link_free_[to];
  start = std::min(std::max(start, link_free), end);
  link_free = std::max(link_free, end);
  times_.transfer += end - start;
  if (trace_) {
    events_.push_back({label, "transfer", "measured", fmt::format("rank {} to {}", rank_, to), start, end});
  }
}

}  // namespace motley
