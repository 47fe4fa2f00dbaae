#include "motley/launcher/on_ranks.h"

#include <algorithm>
#include <exception>
#include <memory>

#include "motley/base/error.h"
#include "motley/comm/abort_on_throw.h"
#include "motley/comm/failure_state.h"
#include "motley/comm/start.h"
#include "motley/launcher/command_line.h"
#include "motley/launcher/context.h"
#include "motley/launcher/mpirun.h"

namespace motley {
namespace {

/// MPI starts and ends as slowly as the machine is loaded, whatever the deadline of messages.
constexpr Seconds kLeastTimeToStart{10.0};

constexpr int kInputWrong = 2;

/// The code that `error` ends the program with.
int exit_code_of(const std::exception& error) {
  return dynamic_cast<const InputError*>(&error) != nullptr ? kInputWrong : 1;
}

}  // namespace

int on_ranks(const std::string& program, const std::function<std::optional<RankInputs>()>& prepare,
             const std::function<void(RankInputs&, SignalWatch&, Communicator&)>& body) {
  const std::optional<int> rank = rank_under_mpirun();
  SignalWatch signals(program, {}, SignalWatch::Voices::One);
  std::optional<RankInputs> inputs;
  std::optional<Refusal> refusal;
  const auto attempt = [&](const auto& step) {
    try {
      step();
    } catch (const std::exception& error) {
      if (!rank) {
        throw;
      }
      refusal = Refusal{message_of(error), exit_code_of(error)};
    }
  };
  attempt([&] { inputs = prepare(); });
  if (!inputs && !refusal) {
    return 0;
  }
  const Seconds deadline = inputs ? inputs->comm.longest_silence() : CommOptions{}.deadline;
  const Seconds time_to_start = std::max(deadline, kLeastTimeToStart);
  signals.limit_start(time_to_start, rank.value_or(0));
  if (inputs) {
    attempt([&] { expect_ranks(inputs->config, rank ? started_ranks() : 1); });
  }
  if (rank) {
    refusal = agree_to_start(refusal);
  }
  if (refusal) {
    if (*rank == 0) {
      complain(refusal->text);
    }
    leave_together();
    return refusal->exit_code;
  }
  std::unique_ptr<Communicator> communicator;
  try {
    communicator = connect(inputs->comm);
    signals.watch(*communicator);
    abort_on_throw(*communicator, [&] {
      body(*inputs, signals, *communicator);
      communicator->world().barrier("end");  // who is lost now is still noticed
    });
    communicator.reset();
    signals.limit_end(time_to_start);
    end_mpi_together();
    return 0;
  } catch (const std::exception& error) {
    signals.report(message_of(error));
    // Of another rank's mistake this one hears by an error of communication.
    const bool by_input = communicator && communicator->failure_state()->by_input();
    return by_input ? kInputWrong : exit_code_of(error);
  }
}

}  // namespace motley
