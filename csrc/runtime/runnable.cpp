#include "motley/runtime/runnable.h"

#include "motley/base/error.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

bool has_interpreter(Op op) {
  switch (op) {
    case Op::Idle:
    case Op::Forward:
    case Op::Backward:
    case Op::BackwardInput:
    case Op::BackwardWeight:
    case Op::Recompute:
    case Op::OverlapForwardBackward:
    case Op::SendForward:
    case Op::SendBackward:
    case Op::ReceiveForward:
    case Op::ReceiveBackward:
    case Op::ReduceGradient:
    case Op::Norm:
    case Op::Update:
      return true;
    default:
      return false;
  }
}

void expect_known(const Action& action) {
  if (!has_interpreter(action.op)) {
    throw InputError::of("schedule: {} cannot be executed: parameters are not sharded", to_string(action));
  }
  for (const Action& part : action.parts) {
    expect_known(part);
  }
}

}  // namespace

void expect_runnable(const Schedule& lowered) {
  for (const std::vector<Action>& row : lowered.ranks) {
    const Action* closing = nullptr;
    for (const Action& action : row) {
      expect_known(action);
      if (is_compute(action.op) && closing != nullptr) {
        throw InputError::of("schedule: {} stands after {}, expected all gradients to be summed before",
                             to_string(action), to_string(*closing));
      }
      if (action.op == Op::ReduceGradient || action.op == Op::Norm || action.op == Op::Update) {
        closing = &action;
      }
    }
  }
  // The first alone: others often follow from it.
  if (const std::vector<Problem> problems = validate(lowered); !problems.empty()) {
    throw InputError::of("schedule: {}{}", problems.front().message,
                         problems.size() > 1 ? fmt::format(" (and {} problems more)", problems.size() - 1) : "");
  }
}

}  // namespace motley
