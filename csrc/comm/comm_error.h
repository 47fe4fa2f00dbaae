#pragma once

#include "motley/base/error.h"

namespace motley {

/// A failure of communication: a lost, late or failing rank. `what()` names the rank, its action and the peer, and is
/// the same text on every rank that learnt it from the same source.
class CommError : public Fault {
 public:
  using Fault::Fault;
};

}  // namespace motley
