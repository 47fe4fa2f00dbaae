#include "motley/partitioner/closed_form.h"

#include <algorithm>

namespace motley {
namespace {

constexpr int kReceiveAhead = 2;

/// Whether action `index` of a stage of depth `depth` is a forward.
bool is_forward(int index, int depth, int micro_batches) {
  if (index < depth) return true;
  const int past = index - depth;
  return past < 2 * (micro_batches - depth) && past % 2 == 1;
}

}  // namespace

void LongestPath::prepare(const FlatPipeline& pipeline) {
  micro_batches_ = static_cast<std::size_t>(pipeline.micro_batches);
  if (seats_.size() < pipeline.seats.size()) seats_.resize(pipeline.seats.size());
  for (std::size_t i = 0; i < pipeline.seats.size(); ++i) {
    Seat& seat = seats_[i];
    seat.next = seat.forwards = seat.backwards = 0;
    seat.now = 0.0;
    seat.below.clear();
    seat.above.clear();
  }
  lanes_.assign(pipeline.lanes.size(), {});
  for (std::size_t i = 0; i < pipeline.lanes.size(); ++i) {
    seats_[pipeline.lanes[i].from].above.push_back(static_cast<int>(i));
    seats_[pipeline.lanes[i].to].below.push_back(static_cast<int>(i));
  }
  forward_end_.resize(pipeline.seats.size() * micro_batches_);
  backward_end_.resize(pipeline.seats.size() * micro_batches_);
}

/// Does what the seat can do now. Whether that was anything.
bool LongestPath::advance(const FlatPipeline& pipeline, std::size_t index) {
  const FlatPipeline::Seat& costs = pipeline.seats[index];
  Seat& seat = seats_[index];
  const int m = pipeline.micro_batches;
  const int depth = pipeline.gpipe ? m : std::min(m, costs.warm_up);
  double* const my_forwards = forward_end(index);
  double* const my_backwards = backward_end(index);
  bool moved = false;
  for (; seat.next < 2 * m; ++seat.next, moved = true) {
    if (is_forward(seat.next, depth, m)) {
      const int k = seat.forwards;
      const auto is_missing = [&](int lane) { return seats_[pipeline.lanes[lane].from].forwards <= k; };
      if (std::any_of(seat.below.begin(), seat.below.end(), is_missing)) break;
      for (const int l : seat.below) {
        const FlatPipeline::Lane& lane = pipeline.lanes[l];
        double start = std::max(forward_end(lane.from)[k] + lane.forward_offset, lanes_[l].forward_arrival);
        if (k >= kReceiveAhead) start = std::max(start, my_forwards[k - kReceiveAhead]);
        lanes_[l].forward_arrival = start + lane.forward;
        seat.now = std::max(seat.now, lanes_[l].forward_arrival);
      }
      seat.now += costs.forward;
      my_forwards[k] = seat.now;
      seat.now += costs.after_forward;
      ++seat.forwards;
    } else {
      const int k = seat.backwards;
      const auto is_missing = [&](int lane) { return seats_[pipeline.lanes[lane].to].backwards <= k; };
      if (std::any_of(seat.above.begin(), seat.above.end(), is_missing)) break;
      seat.now += costs.recompute;
      for (const int l : seat.above) {
        const FlatPipeline::Lane& lane = pipeline.lanes[l];
        double start = std::max(backward_end(lane.to)[k] + lane.backward_offset, lanes_[l].backward_arrival);
        if (k >= kReceiveAhead) start = std::max(start, my_backwards[k - kReceiveAhead]);
        lanes_[l].backward_arrival = start + lane.backward;
        seat.now = std::max(seat.now, lanes_[l].backward_arrival);
      }
      seat.now += costs.backward;
      my_backwards[k] = seat.now;
      seat.now += costs.after_backward;
      ++seat.backwards;
    }
  }
  return moved;
}

double LongestPath::iteration(const FlatPipeline& pipeline, bool clip, double norm_exchange) {
  prepare(pipeline);
  const std::size_t count = pipeline.seats.size();
  // The last stage is the first to run backwards, so going down lets a whole wave of backwards pass in one sweep; the
  // forwards of the next wave then go up.
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t sweep = 0; sweep < 2 * count; ++sweep) {
      moved = advance(pipeline, sweep < count ? sweep : 2 * count - 1 - sweep) || moved;
    }
  }

  double last = 0.0;
  double longest_update = 0.0;
  double end = 0.0;
  for (std::size_t begin = 0; begin < count;) {
    std::size_t after = begin;
    double stage_end = 0.0;
    for (; after < count && pipeline.seats[after].stage == pipeline.seats[begin].stage; ++after) {
      stage_end = std::max(stage_end, seats_[after].now);
    }
    stage_end += pipeline.seats[begin].reduce;
    last = std::max(last, stage_end);
    for (; begin < after; ++begin) {
      longest_update = std::max(longest_update, pipeline.seats[begin].update);
      end = std::max(end, stage_end + pipeline.seats[begin].update);
    }
  }
  return clip ? last + norm_exchange + longest_update : end;
}

}  // namespace motley
