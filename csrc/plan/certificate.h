#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "motley/base/units.h"

namespace motley {

class JsonField;

/// Prices that prove a lower bound for the plans of one micro-batch size: see partitioner/check_bound.h.
struct BoundProof {
  /// For one part of the cluster, and for plans whose longest stage takes so long a micro-batch.
  struct Table {
    double above_s = 0.0;        ///< the longest stage takes more than this,
    double up_to_s = 0.0;        ///< and at most this
    double layer_price = 1.0;    ///< of a layer of value 1
    double second_price = 0.0;   ///< of a second of work in front of which the longest stage may stand
    std::vector<double> depths;  ///< [w - 1]: of a stage with warm-up w; 0 beyond
  };
  /// One step of the proof: that a micro-batch's round trip takes at least so long, or that there is no plan at all.
  struct Round {
    bool round_trip = false;
    std::vector<Table> tables;
  };
  /// Prices of whole chains of stages, which may prove more: see partitioner/check_chains.h. Without `prices` the round
  /// trips are to refute, or both parts: plans in which a stage of a device like `device` starts with `layer`, and
  /// others.
  struct Chains {
    std::vector<std::vector<double>> round_trips;  ///< [round][device], prices that prove a round trip
    std::vector<double> prices;                    ///< [device], which prove that there is no plan at all
    int layer = 0;
    int device = 0;
    std::vector<Chains> parts;
  };
  std::int64_t micro_batch_size = 0;
  std::vector<double> layer_values;  ///< [layer]
  std::vector<Round> rounds;
  std::optional<Chains> chains = {};  ///< then `rounds` need not refute
};

/// The plan space that a bound holds for, as the search was asked (partitioner/search.h).
struct BoundSpace {
  std::int64_t global_batch = 0;
  std::vector<std::int64_t> micro_batch_sizes;  ///< empty: all that were profiled and divide the batch
  std::vector<std::string> schedules;
  std::vector<std::string> allow;
  bool any_passes = false;  ///< every order of passes, not only that of `schedules`
  bool clip = true;
  int max_stages = 0;
  bool use_all_devices = false;
  bool any_order = true;
  int max_replicas = 0;
  std::int64_t share_unit = 0;
  int max_rounds = 2;
  friend bool operator==(const BoundSpace&, const BoundSpace&) = default;
};

/// A lower bound no plan of the space can beat, and how far above it this plan may lie.
struct Certificate {
  /// Of what is minimised: iteration or bottleneck seconds. For "cost" the iteration time in which this plan's devices
  /// would cost as little as any plan can.
  Seconds lower_bound;
  double gap = 0.0;                     ///< this plan's time / lower_bound - 1
  std::string space;                    ///< the plan space it holds for, in words
  std::string objective = "iteration";  ///< "iteration", "bottleneck" or "cost"
  BoundSpace asked = {};                ///< the space for the checker; without a batch: not known
  Seconds proven_bound = {};            ///< what `proofs` prove without a search; at most `lower_bound`
  std::vector<BoundProof> proofs = {};  ///< one a micro-batch size; empty: the bound is the search's word alone
};

/// As a plan's file holds it. Lists of numbers that repeat are pairs [count, number].
[[nodiscard]] nlohmann::json to_json(const Certificate& certificate);
/// Throws InputError naming the field. What a price must be, the checker says.
[[nodiscard]] Certificate certificate_from(const JsonField& field);

}  // namespace motley
