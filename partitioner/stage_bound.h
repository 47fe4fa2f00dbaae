#pragma once

#include <vector>

#include "motley/partitioner/completions.h"
#include "motley/partitioner/corner.h"

namespace motley {

/// One stage of a plan under construction, chosen after all stages behind it.
struct StageNode {
  const Team* team = nullptr;
  const CrewOfClasses* crew = nullptr;
  int first = 0;
  int end = 0;
  int depth = 1;  ///< of warm-up
  bool recompute = false;
  int wire = 0;  ///< of the edge to the next stage
};

/// What a stage and all behind it take, by the algebra in exact.h.
struct StageBound {
  struct Seat {
    double forward = 0.0;         // F
    double backward = 0.0;        // B, or I
    double busy = 0.0;            // all a micro-batch needs of the device
    double first_backward = 0.0;  // G
    double round_trip = 0.0;      // R
    double height = 0.0;          // H
    double own_end = 0.0;         // A
  };
  StageNode node;
  std::vector<Seat> seats;
  int behind = 0;               ///< stages after it
  double longest_update = 0.0;  ///< of it and all after it
  double busiest = 0.0;         ///< device or channel, of it and all after it
  double usd_per_hour = 0.0;    ///< of it and all after it
  double value = 0.0;           ///< lower bound of the objective over all plans that end like this
};

/// Fills in `out` for out.node, which stands before `next` (none: the last stage); `code` counts it as used. Keeps
/// out.seats' memory. O(seats of both stages).
void bound_stage(const Corner& corner, const Completions& completions, const StageBound* next, std::size_t code,
                 StageBound& out);

}  // namespace motley
