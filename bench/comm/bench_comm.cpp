// Compares ways of moving bytes between two processes on one host, in one run: mpirun -n 2 bench_comm [ROUNDS].
// Prints medians with quartiles, and each median as a ratio of transport "tcp".

#include <fmt/format.h>
#include <mpi.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#ifdef MOTLEY_BENCH_ZMQ
#include <zmq.h>
#endif

#include "motley/comm/communicator.h"

namespace motley {
namespace {

using Clock = std::chrono::steady_clock;

double now() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

double cpu_of_process() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Blocking exchange with the one other process.
class Pipe {
 public:
  Pipe() = default;
  virtual ~Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  virtual void send(std::span<const std::byte> data) = 0;
  virtual void receive(std::span<std::byte> into) = 0;
  /// Many messages one way; receives are posted ahead where the transport has such a thing.
  virtual void stream(bool sends, std::vector<std::vector<std::byte>>& messages) {
    for (auto& message : messages) sends ? send(message) : receive(message);
  }
};

class MotleyPipe final : public Pipe {
 public:
  MotleyPipe(const std::string& transport, int other) : other_(other) {
    CommOptions options;
    options.transport = transport;
    communicator_ = connect(options);
  }
  /// Returns when the bytes are handed over, as zmq_send does; the runtime does not wait for its sends either.
  void send(std::span<const std::byte> data) override {
    pending_.wait();
    buffer_.assign(data.begin(), data.end());
    pending_ = communicator_->to(other_).send(buffer_, "bench");
  }
  ~MotleyPipe() override { pending_.wait(); }
  void receive(std::span<std::byte> into) override { communicator_->from(other_).receive(into, "bench").wait(); }
  void stream(bool sends, std::vector<std::vector<std::byte>>& messages) override {
    std::vector<Work> works;
    for (auto& message : messages) {
      works.push_back(sends ? communicator_->to(other_).send(message, "bench")
                            : communicator_->from(other_).receive(message, "bench"));
    }
    for (Work& work : works) work.wait();
  }

 private:
  int other_;
  std::unique_ptr<Communicator> communicator_;
  std::vector<std::byte> buffer_;
  Work pending_;
};

/// MPI as a program would call it without a thread between: blocking calls, which spin.
class BlockingMpiPipe final : public Pipe {
 public:
  explicit BlockingMpiPipe(int other) : other_(other) {}
  void send(std::span<const std::byte> data) override {
    MPI_Send(data.data(), static_cast<int>(data.size()), MPI_BYTE, other_, 1, MPI_COMM_WORLD);
  }
  void receive(std::span<std::byte> into) override {
    MPI_Recv(into.data(), static_cast<int>(into.size()), MPI_BYTE, other_, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }

 private:
  int other_;
};

#ifdef MOTLEY_BENCH_ZMQ
/// libzmq PAIR sockets over loopback TCP: its own I/O thread, one copy more on receive.
class ZmqPipe final : public Pipe {
 public:
  explicit ZmqPipe(int rank) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_PAIR)) {
    const int linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof(linger));
    char endpoint[64] = {};
    if (rank == 0) {
      std::size_t length = sizeof(endpoint);
      if (zmq_bind(socket_, "tcp://127.0.0.1:*") != 0) std::abort();
      zmq_getsockopt(socket_, ZMQ_LAST_ENDPOINT, endpoint, &length);
    }
    MPI_Bcast(endpoint, sizeof(endpoint), MPI_CHAR, 0, MPI_COMM_WORLD);
    if (rank != 0 && zmq_connect(socket_, endpoint) != 0) std::abort();
  }
  ~ZmqPipe() override {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  void send(std::span<const std::byte> data) override { zmq_send(socket_, data.data(), data.size(), 0); }
  void receive(std::span<std::byte> into) override { zmq_recv(socket_, into.data(), into.size(), 0); }

 private:
  void* context_;
  void* socket_;
};
#endif

struct Quartiles {
  double low = 0.0;
  double median = 0.0;
  double high = 0.0;
};

Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  return {at(0.25), at(0.5), at(0.75)};
}

struct Measured {
  std::string name;
  Quartiles small_round_trip_us;
  Quartiles page_round_trip_us;
  Quartiles rate_mb_s;
  Quartiles wake_up_us;
  Quartiles waiting_percent;
};

void echo(Pipe& pipe, int rank, std::vector<std::byte>& data) {
  if (rank == 0) {
    pipe.send(data);
    pipe.receive(data);
  } else {
    pipe.receive(data);
    pipe.send(data);
  }
}

Quartiles round_trip_us(Pipe& pipe, int rank, std::size_t size, int rounds) {
  std::vector<std::byte> data(size);
  std::vector<double> times;
  for (int i = 0; i < rounds + 50; ++i) {
    const double begun = now();
    echo(pipe, rank, data);
    if (i >= 50) times.push_back((now() - begun) * 1e6);
  }
  return quartiles(times);
}

/// 32 messages of 1 MB one way and an empty answer.
Quartiles rate_mb_s(Pipe& pipe, int rank, int rounds) {
  constexpr std::size_t kSize = 1'000'000;
  std::vector<std::vector<std::byte>> messages(32, std::vector<std::byte>(kSize));
  std::vector<std::byte> answer(1);
  std::vector<double> rates;
  for (int i = 0; i < rounds + 1; ++i) {
    echo(pipe, rank, answer);
    const double begun = now();
    pipe.stream(rank == 0, messages);
    if (rank == 0) {
      pipe.receive(answer);
    } else {
      pipe.send(answer);
    }
    if (i >= 1) rates.push_back(static_cast<double>(messages.size() * kSize) / (now() - begun) * 1e-6);
  }
  return quartiles(rates);
}

/// From the sender's clock before it sends until the waiting side goes on, after 5 ms of quiet. One host, one clock.
Quartiles wake_up_us(Pipe& pipe, int rank, int rounds) {
  std::vector<double> times;
  std::vector<std::byte> data(sizeof(double));
  for (int i = 0; i < rounds; ++i) {
    if (rank == 0) {
      pipe.receive(data);
      const double there = now();
      double sent = 0.0;
      std::memcpy(&sent, data.data(), sizeof(sent));
      times.push_back((there - sent) * 1e6);
      pipe.send(data);
    } else {
      sleep_for(5e-3);
      const double sent = now();
      std::memcpy(data.data(), &sent, sizeof(sent));
      pipe.send(data);
      pipe.receive(data);
    }
  }
  if (rank != 0) times.push_back(0.0);
  return quartiles(times);
}

/// Processor time of the whole process while it waits half a second, in percent of one core.
Quartiles waiting_percent(Pipe& pipe, int rank, int rounds) {
  std::vector<double> shares;
  std::vector<std::byte> data(1);
  for (int i = 0; i < rounds; ++i) {
    if (rank == 0) {
      const double begun = now();
      const double before = cpu_of_process();
      pipe.receive(data);
      shares.push_back((cpu_of_process() - before) / (now() - begun) * 100.0);
    } else {
      sleep_for(0.5);
      pipe.send(data);
    }
  }
  if (rank != 0) shares.push_back(0.0);
  return quartiles(shares);
}

std::string cell(const Quartiles& value, const Quartiles& base) {
  return fmt::format("{:.3g} [{:.3g}, {:.3g}] x{:.2f}", value.median, value.low, value.high,
                     base.median > 0 ? value.median / base.median : 0.0);
}

int bench(int rounds) {
  int rank = 0;
  int size = 0;
  int threads = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threads);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size != 2) {
    fmt::print(stderr, "bench_comm: found {} processes, expected 2: mpirun -n 2 bench_comm\n", size);
    return 2;
  }
  const int other = 1 - rank;
  std::vector<std::pair<std::string, std::function<std::unique_ptr<Pipe>()>>> pipes;
  pipes.emplace_back("tcp", [&] { return std::make_unique<MotleyPipe>("tcp", other); });
#ifdef MOTLEY_BENCH_ZMQ
  pipes.emplace_back("libzmq PAIR", [&] { return std::make_unique<ZmqPipe>(rank); });
#endif
  pipes.emplace_back("mpi", [&] { return std::make_unique<MotleyPipe>("mpi", other); });
  pipes.emplace_back("MPI blocking", [&] { return std::make_unique<BlockingMpiPipe>(other); });

  std::vector<Measured> measured;
  for (const auto& [name, make] : pipes) {
    const auto pipe = make();
    Measured row;
    row.name = name;
    row.small_round_trip_us = round_trip_us(*pipe, rank, 64, rounds);
    row.page_round_trip_us = round_trip_us(*pipe, rank, 4096, rounds);
    row.rate_mb_s = rate_mb_s(*pipe, rank, 15);
    row.wake_up_us = wake_up_us(*pipe, rank, 200);
    row.waiting_percent = waiting_percent(*pipe, rank, 5);
    measured.push_back(row);
  }
  if (rank == 0) {
    fmt::print("median [quartiles] xratio to tcp\n\n");
    fmt::print(
        "| transport | round trip 64 B, us | round trip 4 KB, us | rate at 1 MB, MB/s | wake-up, us | waiting, % of a "
        "core |\n");
    fmt::print("|---|---|---|---|---|---|\n");
    const Measured& base = measured.front();
    for (const Measured& row : measured) {
      fmt::print("| {} | {} | {} | {} | {} | {} |\n", row.name, cell(row.small_round_trip_us, base.small_round_trip_us),
                 cell(row.page_round_trip_us, base.page_round_trip_us), cell(row.rate_mb_s, base.rate_mb_s),
                 cell(row.wake_up_us, base.wake_up_us), cell(row.waiting_percent, base.waiting_percent));
    }
  }
  MPI_Finalize();
  return 0;
}

}  // namespace
}  // namespace motley

int main(int count, char** arguments) {
  const int rounds = count > 1 ? static_cast<int>(std::strtol(arguments[1], nullptr, 10)) : 1000;
  if (rounds < 1) {
    fmt::print(stderr, "bench_comm: found {} rounds, expected at least 1\n", arguments[1]);
    return 2;
  }
  return motley::bench(rounds);
}
