#include "motley/partitioner/stage_bound.h"

#include <algorithm>

namespace motley {
namespace {

using Place = CrewOfClasses::Seat;

class Bounding {
 public:
  Bounding(const Corner& corner, const StageBound* next, StageBound& out)
      : corner_(corner), tables_(corner.tables()), node_(out.node), next_(next), out_(out) {
    m_ = static_cast<double>(corner.micro_batches());
    in_flight_ = corner.in_flight(node_.depth);
    w_ = static_cast<double>(in_flight_);
  }

  void run() {
    const std::vector<Place>& places = node_.crew->seats;
    out_.seats.resize(places.size());
    out_.behind = next_ != nullptr ? next_->behind + 1 : 0;
    out_.longest_update = next_ != nullptr ? next_->longest_update : 0.0;
    out_.busiest = next_ != nullptr ? next_->busiest : 0.0;
    out_.usd_per_hour = node_.crew->usd_per_hour + (next_ != nullptr ? next_->usd_per_hour : 0.0);
    const double reduce = corner_.reduce(*node_.crew, node_.first, node_.end);
    for (std::size_t i = 0; i < places.size(); ++i) {
      out_.longest_update = std::max(out_.longest_update, tables_.update(places[i].c, node_.first, node_.end));
      seat(places[i], out_.seats[i], reduce);
    }
  }

 private:
  /// What the messages of a seat to and from the next stage make it wait for.
  struct Behind {
    double round_trip = 0.0;      // R': from the end of F until the gradient is there
    double first_backward = 0.0;  // likewise of the first micro-batch
    double height = 0.0;          // f + H' + b
    double own_end = 0.0;         // f + A'
    double channels = 0.0;        // R' with all messages of the fuller channel
    double encode = 0.0;
    double decode = 0.0;
  };

  [[nodiscard]] Behind behind(const Place& here) {
    Behind result;
    if (next_ == nullptr) return result;
    const std::vector<Place>& places = next_->node.crew->seats;
    for (std::size_t j = 0; j < places.size(); ++j) {
      const Place& there = places[j];
      const std::int64_t samples = std::min(here.end, there.end) - std::max(here.begin, there.begin);
      if (samples <= 0) continue;
      const StageBound::Seat& other = next_->seats[j];
      const auto codec = [&](Pass pass, const Place& from, const Place& to) {
        return tables_.encode(pass, from.c, node_.end, samples, node_.wire) +
               tables_.decode(pass, to.c, node_.end, samples, node_.wire);
      };
      const double send = tables_.transfer(Pass::Forward, here.c, there.c, node_.end, samples, node_.wire);
      const double answer = tables_.transfer(Pass::Backward, there.c, here.c, node_.end, samples, node_.wire);
      const double f = send + codec(Pass::Forward, here, there);
      const double b = answer + codec(Pass::Backward, there, here);
      result.round_trip = std::max(result.round_trip, f + other.round_trip + b);
      result.first_backward = std::max(result.first_backward, f + other.first_backward + other.backward + b);
      result.height = std::max(result.height, f + other.height + b);
      result.own_end = std::max(result.own_end, f + other.own_end);
      result.channels = std::max(result.channels, f + other.round_trip + b + (m_ - 1) * std::max(send, answer));
      result.encode += tables_.encode(Pass::Forward, here.c, node_.end, samples, node_.wire);
      result.decode += tables_.decode(Pass::Backward, here.c, node_.end, samples, node_.wire);
      out_.busiest = std::max(out_.busiest, m_ * std::max(send, answer));
    }
    return result;
  }

  void seat(const Place& place, StageBound::Seat& of, double reduce) {
    const Behind b = behind(place);
    of.forward = tables_.forward(place.c, place.share, node_.first, node_.end);
    // What is decoded in the backward is behind the message that brings it.
    of.backward = tables_.backward(place.c, place.share, node_.first, node_.end);
    const double again = node_.recompute ? of.forward : 0.0;
    const double forward = of.forward + b.encode;
    const double backward = again + b.decode + of.backward;
    const double weight = tables_.weight(place.c, place.share, node_.first, node_.end);
    of.busy = forward + backward + weight;
    of.round_trip = of.forward + b.round_trip + of.backward;
    const auto before_first = static_cast<double>(corner_.least_in_flight(node_.depth, out_.behind));
    const double warm_up = corner_.gpipe() ? m_ * of.forward + b.round_trip : before_first * forward + again;
    of.first_backward = std::max(warm_up, of.forward + b.first_backward);
    const auto whole_cycles = (corner_.micro_batches() - 1) / in_flight_;
    const auto cycles = static_cast<double>(whole_cycles);
    of.height = std::max({of.first_backward + (m_ - w_) * forward + of.backward + (m_ - 1) * backward,
                          m_ * forward + of.backward + (m_ - 1) * backward,
                          (cycles + 1) * of.round_trip + (m_ - 1 - cycles * w_) * backward,
                          of.forward + b.height + of.backward, of.forward + b.channels + of.backward});
    const double update = tables_.update(place.c, node_.first, node_.end);
    const double closing = reduce + (corner_.options().clip ? 0.0 : update);
    of.own_end = std::max({of.height + closing, m_ * of.busy + closing, of.forward + b.own_end});
    out_.busiest = std::max(out_.busiest, m_ * of.busy + reduce + update);
  }

  const Corner& corner_;
  const StageTables& tables_;
  const StageNode& node_;
  const StageBound* next_;
  StageBound& out_;
  double m_ = 0.0;
  double w_ = 0.0;
  std::int64_t in_flight_ = 0;
};

/// The cheapest device that is not used: what a node that lacks layers needs at least beside its own.
double cheapest_device(const Corner& corner) {
  double least = std::numeric_limits<double>::infinity();
  for (int c = 0; c < corner.classes(); ++c) least = std::min(least, corner.tables().usd_per_hour(c));
  return least;
}

}  // namespace

void bound_stage(const Corner& corner, const Completions& completions, const StageBound* next, std::size_t code,
                 StageBound& out) {
  Bounding(corner, next, out).run();
  const SearchOptions& options = corner.options();
  const int first = out.node.first;
  double ahead = std::numeric_limits<double>::infinity();
  double bottleneck = ahead;
  double busiest = ahead;
  for (const Place& place : out.node.crew->seats) {
    ahead = std::min(ahead, completions.round_trip(code, place.c, first));
    bottleneck = std::min(bottleneck, completions.bottleneck(code, place.c, first));
    busiest = std::min(busiest, completions.busiest(code, place.c, first));
  }
  if (options.objective == Objective::Bottleneck) {
    out.value = std::max(out.busiest, busiest);
    return;
  }
  double height = 0.0;
  double end = bottleneck;
  for (const StageBound::Seat& seat : out.seats) {
    height = std::max(height, seat.height);
    end = std::max(end, seat.own_end);
  }
  out.value = std::max(height + ahead, end) +
              (options.clip ? corner.profile().cluster.norm_exchange.value + out.longest_update : 0.0);
  if (options.objective == Objective::Cost) {
    constexpr double kSecondsOfHour = 3600.0;
    const double usd_per_hour = out.usd_per_hour + (first > 0 ? cheapest_device(corner) : 0.0);
    out.value *= usd_per_hour / kSecondsOfHour / static_cast<double>(options.global_batch);
  }
}

}  // namespace motley
