#include "motley/partitioner/pipeline_search.h"

#include <algorithm>
#include <numeric>

#include "motley/base/error.h"
#include "motley/partitioner/closed_form.h"
#include "motley/partitioner/stage_bound.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Child {
  double bound;
  StageNode node;
};

/// Whether recomputation can only cost time: memory surely fits without it.
bool recomputes_in_vain(const Corner& corner, const StageNode& node) {
  if (corner.apart() || corner.shares_nics()) return false;
  return std::all_of(node.crew->seats.begin(), node.crew->seats.end(), [&](const CrewOfClasses::Seat& seat) {
    return corner.tables().memory_at_most(seat.share, node.first, node.end, corner.in_flight(node.depth),
                                          corner.micro_batches()) <= corner.tables().capacity(seat.c);
  });
}

bool fits(const Corner& corner, const StageNode& node, int behind) {
  const std::int64_t in_flight = corner.least_in_flight(node.depth, behind);
  return std::all_of(node.crew->seats.begin(), node.crew->seats.end(), [&](const CrewOfClasses::Seat& seat) {
    return corner.fits(seat, node.first, node.end, in_flight, node.recompute);
  });
}

/// Calls visit(node) for every stage that may stand before `next` (none: the last one).
template <typename Visit>
void for_each_stage(const Corner& corner, const std::vector<int>& used, const StageBound* next, Visit&& visit) {
  const int behind = next != nullptr ? next->behind + 1 : 0;
  const int end = next != nullptr ? next->node.first : corner.tables().layers();
  const int depth = next != nullptr ? next->node.depth : 0;
  if (!corner.may_go_on(behind)) return;
  for (const Team& team : corner.teams()) {
    if (!corner.may_place(used, team)) continue;
    std::vector<int> with = used;
    for (std::size_t c = 0; c < with.size(); ++c) with[c] += team.count[c];
    const bool may_end = corner.may_end(with) && (behind > 0 || team.devices > 1);
    for (const CrewOfClasses& crew : team.crews) {
      for (int first = end - 1; first >= (may_end ? 0 : 1); --first) {
        if (std::any_of(crew.seats.begin(), crew.seats.end(),
                        [&](const CrewOfClasses::Seat& seat) { return corner.is_too_long(seat, first, end); })) {
          break;
        }
        StageNode node{&team, &crew, first, end, 1, false, 0};
        for (int again = 0; again <= (corner.may_recompute() ? 1 : 0); ++again) {
          node.recompute = again > 0;
          for (int extra = 0; extra <= (next != nullptr ? corner.extra_warm_ups() : 0); ++extra) {
            if (next != nullptr && !is_distinct_warm_up(depth, extra, corner.micro_batches())) break;
            node.depth = depth + 1 + extra;
            if (!fits(corner, node, behind)) break;
            if (node.recompute && recomputes_in_vain(corner, node)) continue;
            for (node.wire = 0; node.wire < (next != nullptr ? corner.tables().wires() : 1); ++node.wire) visit(node);
          }
        }
      }
    }
  }
}

class PipelineSearch {
 public:
  PipelineSearch(const Corner& corner, const Completions& completions, Exploration& exploration)
      : corner_(corner),
        completions_(completions),
        exploration_(exploration),
        used_(static_cast<std::size_t>(corner.classes()), 0) {}

  void run(const StageNode& last) {
    if (exploration_.is_pruned(place(last))) return;
    if (last.first == 0) {
      finish();
    } else {
      expand();
    }
  }

 private:
  [[nodiscard]] const StageBound* top() const { return depth_ > 0 ? &stack_[depth_ - 1] : nullptr; }

  /// Puts the stage before those placed. Its bound.
  double place(const StageNode& node) {
    if (stack_.size() == depth_) stack_.emplace_back();
    StageBound& of = stack_[depth_];
    of.node = node;
    code_ += node.team->stride;
    bound_stage(corner_, completions_, top(), code_, of);
    ++depth_;
    for (std::size_t c = 0; c < used_.size(); ++c) used_[c] += node.team->count[c];
    return of.value;
  }

  void take_back() {
    const Team& team = *stack_[--depth_].node.team;
    code_ -= team.stride;
    for (std::size_t c = 0; c < used_.size(); ++c) used_[c] -= team.count[c];
  }

  void expand() {
    if (!exploration_.enter(top()->value)) return;
    std::vector<Child> children;
    for_each_stage(corner_, used_, top(), [&](const StageNode& node) {
      scratch_.node = node;
      bound_stage(corner_, completions_, top(), code_ + node.team->stride, scratch_);
      if (!exploration_.is_pruned(scratch_.value)) children.push_back({scratch_.value, node});
    });
    std::stable_sort(children.begin(), children.end(),
                     [](const Child& a, const Child& b) { return a.bound < b.bound; });
    for (const Child& child : children) {
      if (exploration_.is_pruned(child.bound)) break;
      place(child.node);
      if (child.node.first == 0) {
        finish();
      } else {
        expand();
      }
      take_back();
    }
  }

  /// A complete plan: simulated unless its longest path is already too long.
  void finish() {
    if (!exploration_.enter(top()->value)) return;
    const SearchOptions& options = corner_.options();
    if (!corner_.apart() && options.objective != Objective::Bottleneck) {
      flatten();
      double value = longest_path_.iteration(flat_, options.clip, corner_.profile().cluster.norm_exchange.value);
      if (options.objective == Objective::Cost) {
        value *= top()->usd_per_hour / 3600.0 / static_cast<double>(options.global_batch);
      }
      if (exploration_.is_pruned(value)) return;
    }
    exploration_.offer(plan());
  }

  void flatten() {
    const StageTables& tables = corner_.tables();
    flat_.micro_batches = static_cast<int>(corner_.micro_batches());
    flat_.gpipe = corner_.gpipe();
    flat_.seats.clear();
    flat_.lanes.clear();
    std::size_t first_below = 0;
    for (std::size_t level = depth_; level-- > 0;) {
      const StageBound& stage = stack_[level];
      const std::size_t first_here = flat_.seats.size();
      const double reduce = corner_.reduce(*stage.node.crew, stage.node.first, stage.node.end);
      for (const CrewOfClasses::Seat& place : stage.node.crew->seats) {
        FlatPipeline::Seat& seat = flat_.seats.emplace_back();
        seat.forward = tables.forward(place.c, place.share, stage.node.first, stage.node.end);
        seat.backward = tables.backward(place.c, place.share, stage.node.first, stage.node.end);
        seat.recompute = stage.node.recompute ? seat.forward : 0.0;
        seat.update = tables.update(place.c, stage.node.first, stage.node.end);
        seat.reduce = reduce;
        seat.stage = static_cast<int>(depth_ - 1 - level);
        seat.warm_up = stage.node.depth;
      }
      if (level + 1 < depth_) connect(stack_[level + 1], stage, first_below, first_here);
      first_below = first_here;
    }
  }

  /// Lanes from stage `below` to stage `above`, by sending seat; seats decode and encode their messages in order.
  void connect(const StageBound& below, const StageBound& above, std::size_t first_below, std::size_t first_above) {
    const StageTables& tables = corner_.tables();
    const int cut = above.node.first;
    const int wire = below.node.wire;
    for (std::size_t i = 0; i < below.node.crew->seats.size(); ++i) {
      const CrewOfClasses::Seat& here = below.node.crew->seats[i];
      for (std::size_t j = 0; j < above.node.crew->seats.size(); ++j) {
        const CrewOfClasses::Seat& there = above.node.crew->seats[j];
        const std::int64_t samples = std::min(here.end, there.end) - std::max(here.begin, there.begin);
        if (samples <= 0) continue;
        FlatPipeline::Seat& sender = flat_.seats[first_below + i];
        FlatPipeline::Seat& receiver = flat_.seats[first_above + j];
        FlatPipeline::Lane& lane = flat_.lanes.emplace_back();
        lane.from = static_cast<int>(first_below + i);
        lane.to = static_cast<int>(first_above + j);
        lane.forward = tables.transfer(Pass::Forward, here.c, there.c, cut, samples, wire);
        lane.backward = tables.transfer(Pass::Backward, there.c, here.c, cut, samples, wire);
        sender.after_forward += tables.encode(Pass::Forward, here.c, cut, samples, wire);
        receiver.after_backward += tables.encode(Pass::Backward, there.c, cut, samples, wire);
        lane.forward_offset = sender.after_forward;
        lane.backward_offset = receiver.after_backward;
        receiver.forward += tables.decode(Pass::Forward, there.c, cut, samples, wire);
        sender.backward += tables.decode(Pass::Backward, here.c, cut, samples, wire);
      }
    }
  }

  [[nodiscard]] Plan plan() const {
    std::vector<const CrewOfClasses*> crews;
    for (std::size_t level = depth_; level-- > 0;) crews.push_back(stack_[level].node.crew);
    const std::vector<Crew> devices = corner_.devices_of(crews);
    std::vector<StageChoice> stages;
    for (std::size_t level = depth_; level-- > 0;) {
      const StageNode& node = stack_[level].node;
      stages.push_back({node.end, devices[stages.size()], node.depth, node.recompute,
                        corner_.tables().wire_names()[static_cast<std::size_t>(node.wire)]});
    }
    return make_plan(stages, corner_.size(), corner_.options().global_batch, corner_.schedule());
  }

  const Corner& corner_;
  const Completions& completions_;
  Exploration& exploration_;
  std::vector<StageBound> stack_;  // last stage first; entries above depth_ keep their memory
  std::size_t depth_ = 0;
  std::size_t code_ = 0;
  std::vector<int> used_;  // devices by class
  StageBound scratch_;
  FlatPipeline flat_;
  LongestPath longest_path_;
};

class PipelineSubtree : public Subtree {
 public:
  PipelineSubtree(const Corner& corner, const Completions& completions, const StageNode& last, double bound)
      : corner_(corner), completions_(completions), last_(last), bound_(bound) {}

  [[nodiscard]] double bound() const override { return bound_; }
  [[nodiscard]] Explored explore(double best, std::int64_t allowance, const Deadline& deadline) const override {
    Exploration exploration(corner_.profile(), corner_.options(), best, allowance, deadline);
    PipelineSearch(corner_, completions_, exploration).run(last_);
    return exploration.take();
  }

 private:
  const Corner& corner_;
  const Completions& completions_;
  StageNode last_;
  double bound_;
};

}  // namespace

void add_pipeline_subtrees(const Corner& corner, const Completions& completions,
                           std::vector<std::unique_ptr<Subtree>>& out) {
  StageBound scratch;
  const std::vector<int> none(static_cast<std::size_t>(corner.classes()), 0);
  for_each_stage(corner, none, nullptr, [&](const StageNode& node) {
    scratch.node = node;
    bound_stage(corner, completions, nullptr, node.team->stride, scratch);
    if (scratch.value < kInfinity) {
      out.push_back(std::make_unique<PipelineSubtree>(corner, completions, node, scratch.value));
    }
  });
}

std::optional<Plan> least_lack(const Corner& corner) {
  const int layers = corner.tables().layers();
  if (corner.codes() == 0 ||
      static_cast<double>(corner.codes()) * corner.classes() * corner.classes() * layers * layers >
          Completions::kMostWork) {
    return std::nullopt;
  }
  struct Choice {
    std::int64_t lack = std::numeric_limits<std::int64_t>::max();
    const Team* team = nullptr;
    int first = -1;
    bool recompute = false;
  };
  std::vector<Choice> choices(corner.codes() * (static_cast<std::size_t>(layers) + 1));
  const auto at = [&](std::size_t code, int end) -> Choice& {
    return choices[code * (static_cast<std::size_t>(layers) + 1) + static_cast<std::size_t>(end)];
  };
  for (std::size_t code = corner.codes(); code-- > 0;) {
    const std::vector<int> used = corner.used_of(code);
    const int behind = std::accumulate(used.begin(), used.end(), 0);
    if (behind > 0 && corner.may_end(used)) at(code, 0).lack = 0;
    for (int end = 1; end <= layers && corner.may_go_on(behind); ++end) {
      for (const Team& team : corner.teams()) {
        if (team.devices > 1 || !corner.may_place(used, team)) continue;
        const CrewOfClasses::Seat& seat = team.crews.front().seats.front();
        for (int first = end - 1; first >= 0; --first) {
          if (first == 0 && behind == 0) continue;  // one stage: simulated already
          for (int again = 0; again <= (corner.may_recompute() ? 1 : 0); ++again) {
            const std::int64_t bytes =
                corner.tables().memory(seat.share, first, end, corner.in_flight(behind + 1), again > 0);
            const std::int64_t worst = std::max(
                {std::int64_t{0}, bytes - corner.tables().capacity(seat.c), at(code + team.stride, first).lack});
            if (worst < at(code, end).lack) at(code, end) = {worst, &team, first, again > 0};
          }
        }
      }
    }
  }
  if (at(0, layers).team == nullptr) return std::nullopt;
  std::vector<StageChoice> stages;
  std::vector<const CrewOfClasses*> crews;
  std::size_t code = 0;
  for (int end = layers; end > 0;) {
    const Choice& choice = at(code, end);
    stages.push_back({end, {}, static_cast<int>(stages.size()) + 1, choice.recompute, "float32"});
    crews.push_back(&choice.team->crews.front());
    code += choice.team->stride;
    end = choice.first;
  }
  std::reverse(stages.begin(), stages.end());
  std::reverse(crews.begin(), crews.end());
  const std::vector<Crew> devices = corner.devices_of(crews);
  for (std::size_t s = 0; s < stages.size(); ++s) stages[s].crew = devices[s];
  return make_plan(stages, corner.size(), corner.options().global_batch, corner.schedule());
}

}  // namespace motley
