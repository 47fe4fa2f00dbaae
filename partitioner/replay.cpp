#include "motley/partitioner/replay.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "motley/base/error.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

constexpr std::int64_t kReceiveAhead = 2;

/// The last few numbers of a sequence for every stage: a power of two of them, a division a number would be slow.
class Ring {
 public:
  Ring(std::size_t stages, std::size_t length)
      : stages_(stages), mask_(std::bit_ceil(length) - 1), numbers_(stages * (mask_ + 1), 0.0) {}
  [[nodiscard]] double& at(std::int64_t index, std::size_t stage) {
    return numbers_[(static_cast<std::size_t>(index) & mask_) * stages_ + stage];
  }

 private:
  std::size_t stages_, mask_;
  std::vector<double> numbers_;
};

class Replay {
 public:
  Replay(const Plan& plan, const Profile& profile, bool clip)
      : plan_(plan),
        profile_(profile),
        clip_(clip),
        costs_(costs_of(plan, profile)),
        overhead_(costs_.action_overhead.value),
        stages_(plan.stages.size()),
        m_(plan.micro_batches),
        ring_(ring_length(plan)),
        forward_start_(stages_, ring_),
        forward_end_(stages_, ring_),
        backward_start_(stages_, ring_),
        backward_end_(stages_, ring_),
        forward_arrival_(stages_, ring_),
        backward_arrival_(stages_, ring_),
        clock_(stages_, 0.0),
        busy_(stages_, 0.0),
        forward_free_(stages_, 0.0),
        backward_free_(stages_, 0.0),
        memory_(stages_) {
    for (std::size_t s = 0; s < stages_; ++s) {
      depth_.push_back(std::min<std::int64_t>(
          m_, plan.stages[s].warm_up > 0 ? plan.stages[s].warm_up : static_cast<std::int64_t>(stages_ - s)));
      const StageCosts& cost = costs_.stages[s];
      send_forward_.push_back(s + 1 < stages_ ? transfer(s, s + 1, cost.boundary_forward) : 0.0);
      send_backward_.push_back(s + 1 < stages_ ? transfer(s + 1, s, cost.boundary_backward) : 0.0);
      passes_.push_back({cost.forward.value, cost.backward.value,
                         s > 0 ? costs_.stages[s - 1].boundary_forward.value : 0, cost.boundary_forward.value,
                         cost.boundary_backward.value, s > 0 ? costs_.stages[s - 1].boundary_backward.value : 0,
                         cost.saved.value, cost.forward_peak.value, cost.backward_peak.value});
      memory_[s].now = memory_[s].most = std::min(kReceiveAhead, m_) * (passes_[s].in + passes_[s].back_in);
    }
  }

  Priced run() {
    const std::int64_t first = 1 - depth_.front();
    for (std::int64_t wave = first; wave < m_; ++wave) {
      for (std::size_t s = 0; s < stages_; ++s) {
        const std::int64_t n = wave + depth_[s] - 1;
        if (n >= 0 && n < m_) forward(s, n);
      }
      if (wave >= 0) {
        for (std::size_t s = stages_; s-- > 0;) backward(s, wave);
      }
      if (wave - lag() >= first) book(wave - lag());
    }
    for (std::int64_t wave = std::max(first, m_ - lag()); wave < m_; ++wave) book(wave);
    return result();
  }

 private:
  /// Of StageCosts what every micro-batch needs, so that a wave reads little memory.
  struct Passes {
    double forward = 0.0;
    double backward = 0.0;
    std::int64_t in = 0;  // bytes of messages: forward, into the stage
    std::int64_t out = 0;
    std::int64_t back_in = 0;
    std::int64_t back_out = 0;
    std::int64_t saved = 0;
    std::int64_t forward_peak = 0;
    std::int64_t backward_peak = 0;
  };
  struct Memory {
    std::int64_t now = 0;
    std::int64_t most = 0;
    std::int64_t forward_sends = 0;  // of which the first so many are freed
    std::int64_t backward_sends = 0;
  };

  /// How many waves the consumer of a forward message may come after its producer.
  [[nodiscard]] static std::int64_t deepest_step(const Plan& plan) {
    std::int64_t most = 1;
    for (std::size_t s = 0; s + 1 < plan.stages.size(); ++s) {
      const auto depth = [&](std::size_t of) {
        const auto textbook = static_cast<std::int64_t>(plan.stages.size() - of);
        return std::min(plan.micro_batches, plan.stages[of].warm_up > 0 ? plan.stages[of].warm_up : textbook);
      };
      most = std::max(most, depth(s) - depth(s + 1));
    }
    return most;
  }
  [[nodiscard]] static std::size_t ring_length(const Plan& plan) {
    return static_cast<std::size_t>(2 * deepest_step(plan) + kReceiveAhead + 3);
  }
  [[nodiscard]] std::int64_t lag() const { return static_cast<std::int64_t>(ring_ - kReceiveAhead - 3) / 2; }

  [[nodiscard]] int device(std::size_t stage) const { return plan_.stages[stage].replicas.front().device; }
  [[nodiscard]] double transfer(std::size_t from, std::size_t to, Bytes bytes) const {
    return costs_.transfer(device(from), device(to), bytes).value;
  }

  double occupy(std::size_t s, double start, double duration) {
    const double end = start + overhead_ + duration;
    clock_[s] = end;
    busy_[s] += end - start;
    return end;
  }

  void forward(std::size_t s, std::int64_t n) {
    double start = clock_[s];
    if (s > 0) {
      const double posted = n < kReceiveAhead ? 0.0 : forward_end_.at(n - kReceiveAhead, s);
      const double arrival = std::max({forward_end_.at(n, s - 1), posted, forward_free_[s]}) + send_forward_[s - 1];
      forward_free_[s] = arrival;
      forward_arrival_.at(n, s) = arrival;
      start = std::max(start, arrival);
    }
    forward_start_.at(n, s) = start;
    forward_end_.at(n, s) = occupy(s, start, passes_[s].forward);
  }

  void backward(std::size_t s, std::int64_t k) {
    double start = clock_[s];
    if (s + 1 < stages_) {
      const double posted = k < kReceiveAhead ? 0.0 : backward_end_.at(k - kReceiveAhead, s);
      const double arrival = std::max({backward_end_.at(k, s + 1), posted, backward_free_[s]}) + send_backward_[s];
      backward_free_[s] = arrival;
      backward_arrival_.at(k, s) = arrival;
      start = std::max(start, arrival);
    }
    backward_start_.at(k, s) = start;
    backward_end_.at(k, s) = occupy(s, start, passes_[s].backward);
  }

  /// Frees what has arrived by `time`. Frees of a moment come before what that moment allocates.
  void free_sends(std::size_t s, double time, std::int64_t forwards, std::int64_t backwards) {
    Memory& memory = memory_[s];
    while (memory.forward_sends < forwards && forward_arrival_.at(memory.forward_sends, s + 1) <= time) {
      ++memory.forward_sends;
      memory.now -= passes_[s].out;
    }
    while (memory.backward_sends < backwards && backward_arrival_.at(memory.backward_sends, s - 1) <= time) {
      ++memory.backward_sends;
      memory.now -= passes_[s].back_out;
    }
  }

  /// A pass that holds `before` bytes of its micro-batch, then `peak`, then `after`, and then posts and sends.
  void pass(std::size_t s, double start, double end, std::int64_t before, std::int64_t peak, std::int64_t after,
            std::int64_t posts, std::int64_t forwards, std::int64_t backwards, std::int64_t sends) {
    Memory& memory = memory_[s];
    const std::int64_t most = std::max({peak, before, after});
    free_sends(s, start, forwards, backwards);
    memory.now += most - before;
    memory.most = std::max(memory.most, memory.now);
    free_sends(s, end, forwards, backwards);
    memory.now += after - most + posts + sends;
    memory.most = std::max(memory.most, memory.now);
  }

  /// Memory of a wave whose messages have all arrived or are known to.
  void book(std::int64_t wave) {
    for (std::size_t s = 0; s < stages_; ++s) {
      const Passes& of = passes_[s];
      const std::int64_t n = wave + depth_[s] - 1;
      const std::int64_t sent_back = s > 0 ? std::max<std::int64_t>(0, wave) : 0;
      if (n >= 0 && n < m_) {
        pass(s, forward_start_.at(n, s), forward_end_.at(n, s), of.in, of.forward_peak, of.saved,
             n + kReceiveAhead < m_ ? of.in : 0, s + 1 < stages_ ? n : 0, sent_back, of.out);
      }
      if (wave >= 0) {
        pass(s, backward_start_.at(wave, s), backward_end_.at(wave, s), of.saved + of.back_in, of.backward_peak, 0,
             wave + kReceiveAhead < m_ ? of.back_in : 0, s + 1 < stages_ ? std::min(m_, n + 1) : 0, sent_back,
             of.back_out);
      }
    }
  }

  Priced result() {
    const double norm_end = *std::max_element(clock_.begin(), clock_.end()) + costs_.norm_exchange.value;
    double end = 0.0;
    double busy = 0.0;
    double most_in_use = 0.0;
    Priced priced;
    Prediction& prediction = priced.prediction;
    for (std::size_t s = 0; s < stages_; ++s) {
      const double start = clip_ ? std::max(clock_[s], norm_end) : clock_[s];
      end = std::max({end, occupy(s, start, costs_.stages[s].update.value), forward_free_[s], backward_free_[s]});
      const Bytes peak = costs_.base_memory + costs_.stages[s].resident + Bytes{memory_[s].most};
      prediction.stage_busy.push_back(Seconds{busy_[s]});
      prediction.stage_memory.push_back(peak);
      if (s + 1 < stages_) prediction.edge_time.push_back(Seconds{send_forward_[s]} + Seconds{send_backward_[s]});
      most_in_use = std::max({most_in_use, busy_[s], in_use(send_forward_[s]), in_use(send_backward_[s])});
      const Bytes missing = peak - profile_.cluster.devices[device(s)].memory;
      if (missing > Bytes{0} && (!priced.shortfall || missing > priced.shortfall->missing)) {
        priced.shortfall = Shortfall{static_cast<int>(s), device(s), missing};
      }
    }
    // Ranks in order, as the simulator adds them.
    std::vector<std::size_t> order(stages_);
    for (std::size_t s = 0; s < stages_; ++s) order[s] = s;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return device(a) < device(b); });
    for (const std::size_t s : order) busy += busy_[s];
    prediction.iteration = Seconds{end};
    prediction.bubble_share = end > 0.0 ? 1.0 - busy / (end * static_cast<double>(stages_)) : 0.0;
    prediction.bottleneck = Seconds{most_in_use};
    prediction.usd_per_sample = usd_per_sample(plan_, profile_.cluster, prediction.iteration);
    return priced;
  }

  /// Of a channel, by all messages of `send_s`; added one by one, as the simulator does.
  [[nodiscard]] double in_use(double send_s) const {
    double sum_s = 0.0;
    for (std::int64_t k = 0; k < m_; ++k) sum_s += send_s;
    return sum_s;
  }

  const Plan& plan_;
  const Profile& profile_;
  bool clip_;
  PipelineCosts costs_;
  double overhead_;
  std::size_t stages_;
  std::int64_t m_;
  std::size_t ring_;
  // By micro-batch and stage: passes of the stage, and arrivals at it.
  Ring forward_start_, forward_end_, backward_start_, backward_end_, forward_arrival_, backward_arrival_;
  std::vector<double> clock_, busy_;
  std::vector<double> forward_free_, backward_free_;  // when the channel into a stage is free again
  std::vector<std::int64_t> depth_;
  std::vector<double> send_forward_, send_backward_;  // of the boundary after a stage
  std::vector<Passes> passes_;
  std::vector<Memory> memory_;
};

}  // namespace

bool can_replay(const Plan& plan, const Profile& profile) {
  if (plan.schedule != "1f1b" || profile.model.has_codec("float32")) return false;
  int next_depth = 0;
  for (std::size_t s = plan.stages.size(); s-- > 0;) {
    const StagePlan& stage = plan.stages[s];
    if (stage.replicas.size() != 1 || stage.recompute || stage.wire != "float32") return false;
    const int depth = stage.warm_up > 0 ? stage.warm_up : static_cast<int>(plan.stages.size() - s);
    if (depth <= next_depth) return false;
    next_depth = depth;
  }
  return std::all_of(profile.cluster.hosts.begin(), profile.cluster.hosts.end(),
                     [](const Host& host) { return host.send.value == 0.0 && host.receive.value == 0.0; });
}

Priced replay(const Plan& plan, const Profile& profile, bool clip) {
  MOTLEY_CHECK(can_replay(plan, profile), "a plan that only the simulator can price was replayed");
  return Replay(plan, profile, clip).run();
}

}  // namespace motley
