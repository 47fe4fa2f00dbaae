// One rank of the tests that need real processes: mpirun -n 3 comm_mpi_driver SCENARIO TRANSPORT DEADLINE TAG.
// TAG is not read; it makes the processes of one test findable.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "motley/comm/communicator.h"
#include "motley/comm/signals.h"

namespace motley {
namespace {

void say(const Communicator& comm, const std::string& text) {
  const std::string line = fmt::format("driver: rank {}: {}\n", comm.rank(), text);
  [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, line.data(), line.size());
}

void expect(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

[[noreturn]] void sleep_for_ever() {
  while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
}

/// Messages of several sizes between all pairs at once, then reductions over all and over two of the ranks.
void exchange(Communicator& comm) {
  const std::vector<std::size_t> sizes{0, 1, 4097, 3'000'001, 0, 64};
  std::vector<std::vector<char>> sent;
  std::map<int, std::vector<std::vector<char>>> received;
  std::vector<Work> works;
  for (const std::size_t size : sizes) sent.emplace_back(size, static_cast<char>('a' + comm.rank()));
  for (int peer = 0; peer < comm.size(); ++peer) {
    if (peer == comm.rank()) continue;
    for (const std::size_t size : sizes) received[peer].emplace_back(size);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      works.push_back(comm.from(peer).receive(std::as_writable_bytes(std::span(received[peer][i])), "in"));
      works.push_back(comm.to(peer).send(std::as_bytes(std::span(sent[i])), "out"));
    }
  }
  for (std::size_t i = 0; i < works.size(); ++i) {
    works[i].wait();
    expect(works[i].times_link() == (i % 2 == 0), "not the receiver alone tells what a message took on its link");
  }
  for (const auto& [peer, messages] : received) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      expect(messages[i] == std::vector<char>(sizes[i], static_cast<char>('a' + peer)), "a message came changed");
    }
  }
  for (const std::size_t count : {std::size_t{1}, std::size_t{100'003}}) {
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), static_cast<float>(comm.rank()));
    comm.world().all_reduce_sum(values, "sum");
    for (std::size_t i = 0; i < count; ++i) {
      expect(values[i] == (static_cast<float>(i) + static_cast<float>(i + 1)) + static_cast<float>(i + 2),
             "a sum is wrong");
    }
  }
  if (comm.rank() != 1) {
    const auto pair = comm.group({0, 2});
    std::vector<double> value{1.0 + comm.rank()};
    pair->all_reduce_sum(value, "pair");
    expect(value[0] == 4.0, "the sum of two is wrong");
  }
  comm.world().barrier("end");
}

void run(const std::string& scenario, Communicator& comm) {
  std::vector<char> data(1);
  const auto receive_from = [&](int peer, std::string_view label) {
    comm.from(peer).receive(std::as_writable_bytes(std::span(data)), label).wait();
  };
  const bool last = comm.rank() == comm.size() - 1;
  comm.set_progress(fmt::format("{}F3", comm.rank()));
  comm.world().barrier("start");
  if (scenario == "exchange") {
    exchange(comm);
  } else if (scenario == "paced") {
    const Seconds posted = comm.now();
    std::vector<char> big(100'000);
    const auto bytes = std::as_writable_bytes(std::span(big));
    if (comm.rank() == 0) comm.to(1).send(bytes, "out").wait();
    if (comm.rank() == 1) comm.from(0).receive(bytes, "in").wait();
    if (comm.rank() < 2) expect((comm.now() - posted).value > 0.1 - 0.05, "a paced message came too early");
    comm.world().barrier("end");
  } else if (scenario == "mismatch") {
    std::vector<char> big(12);
    if (comm.rank() == 0) comm.to(1).send(std::as_bytes(std::span(big)), "0SEND_F3").wait();
    receive_from(0 == comm.rank() ? 1 : 0, "1RECV_F3");
  } else if (scenario == "abort") {
    if (last) comm.abort("loss is not a number");
    receive_from((comm.rank() + 1) % comm.size(), "never");
  } else if (scenario == "throws") {
    if (last) throw std::runtime_error("no more memory");
    receive_from(comm.rank() + 1, "never");
  } else if (scenario == "killed" || scenario == "stopped" || scenario == "stuck") {
    if (last) {
      // Long enough for a heartbeat to tell where this rank is.
      comm.set_progress("2B1");
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      if (scenario == "killed") raise(SIGKILL);
      if (scenario == "stopped") raise(SIGSTOP);
      sleep_for_ever();
    }
    receive_from(comm.rank() + 1, fmt::format("{}RECV_B1", comm.rank()));
  } else if (scenario == "twice") {
    comm.world().barrier("first of two");
  } else {
    throw std::invalid_argument(scenario);
  }
  say(comm, "all is well");
}

int drive(int count, char** arguments) {
  SignalWatch signals("driver");
  if (count != 5) throw std::invalid_argument("usage: comm_mpi_driver SCENARIO TRANSPORT DEADLINE TAG");
  const std::string scenario = arguments[1];
  CommOptions options;
  options.transport = arguments[2];
  options.deadline = {std::stod(arguments[3])};
  if (scenario == "paced") options.emulated_links.push_back({0, 1, {1e6}, {0.0}});
  if (scenario == "twice") options.address = "127.0.0.1";
  try {
    for (int times = 0; times < (scenario == "twice" ? 2 : 1); ++times) {
      const auto comm = connect(options);
      signals.watch(*comm);
      try {
        run(scenario, *comm);
      } catch (const std::exception& error) {
        // Without this the others would only learn that an exception stopped this rank.
        comm->abort(error.what());
        throw;
      }
    }
    return 0;
  } catch (const std::exception& error) {
    signals.report(error.what());
    return 1;
  }
}

}  // namespace
}  // namespace motley

int main(int count, char** arguments) {
  return motley::drive(count, arguments);
}
