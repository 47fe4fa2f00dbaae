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

double LongestPath::iteration(const FlatPipeline& pipeline, bool clip, double norm_exchange) {
  const int count = static_cast<int>(pipeline.forward.size());
  const int m = pipeline.micro_batches;
  stages_.assign(static_cast<std::size_t>(count), Stage{});
  forward_end_.resize(static_cast<std::size_t>(count) * m);
  backward_end_.resize(static_cast<std::size_t>(count) * m);
  const auto ends = [m](std::vector<double>& of, int stage) { return of.data() + static_cast<std::size_t>(stage) * m; };

  int running = count;
  while (running > 0) {
    // The last stage is the first to run backwards, so going down lets a whole wave of backwards pass in one sweep; the
    // forwards of the next wave then go up.
    bool moved = false;
    for (int sweep = 0; sweep < 2 * count; ++sweep) {
      const int s = sweep < count ? sweep : 2 * count - 1 - sweep;
      Stage& stage = stages_[s];
      const int depth = pipeline.gpipe ? m : std::min(m, pipeline.warm_up[s]);
      double* const my_forwards = ends(forward_end_, s);
      double* const my_backwards = ends(backward_end_, s);
      while (stage.next < 2 * m) {
        if (is_forward(stage.next, depth, m)) {
          const int k = stage.forwards;
          if (s > 0) {
            if (stages_[s - 1].forwards <= k) break;
            double start = std::max(ends(forward_end_, s - 1)[k], stage.forward_arrival);
            if (k >= kReceiveAhead) start = std::max(start, my_forwards[k - kReceiveAhead]);
            stage.forward_arrival = start + pipeline.send_forward[s - 1];
            stage.now = std::max(stage.now, stage.forward_arrival);
          }
          stage.now += pipeline.forward[s];
          my_forwards[k] = stage.now;
          ++stage.forwards;
        } else {
          const int k = stage.backwards;
          if (s + 1 < count) {
            if (stages_[s + 1].backwards <= k) break;
            double start = std::max(ends(backward_end_, s + 1)[k], stage.backward_arrival);
            if (k >= kReceiveAhead) start = std::max(start, my_backwards[k - kReceiveAhead]);
            stage.backward_arrival = start + pipeline.send_backward[s];
            stage.now = std::max(stage.now, stage.backward_arrival);
          }
          stage.now += pipeline.backward[s];
          my_backwards[k] = stage.now;
          ++stage.backwards;
        }
        moved = true;
        if (++stage.next == 2 * m) --running;
      }
    }
    if (!moved) break;  // not reached for depths that do not rise along the pipeline
  }

  double last = 0.0;
  double longest_update = 0.0;
  double end = 0.0;
  for (int s = 0; s < count; ++s) {
    last = std::max(last, stages_[s].now);
    longest_update = std::max(longest_update, pipeline.update[s]);
    end = std::max(end, stages_[s].now + pipeline.update[s]);
  }
  return clip ? last + norm_exchange + longest_update : end;
}

}  // namespace motley
