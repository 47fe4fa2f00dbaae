// NCCL over sockets of this host, so that ranks may be threads or processes. As strict as the real one may be: a send
// ends when its receive has taken it, calls of a non-blocking communicator have to be polled, and messages whose sizes
// differ never arrive.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "fakes/script.h"
#include "fakes/stream.h"
#include "motley/comm/nccl/api.h"

namespace motley::fakes {
namespace {

constexpr int kUnhandledCudaError = 1;
constexpr int kSystemError = 2;
constexpr int kInvalidArgument = 4;
constexpr int kInvalidUsage = 5;
constexpr int kPollsInProgress = 2;

std::size_t bytes_of(int type) {
  return type == kNcclFloat ? sizeof(float) : 1;
}

struct Hello {
  std::int32_t rank = 0;
  std::int32_t sends = 0;  // whether the rank that connects sends over this socket
};

}  // namespace

struct Communicator {
  int device = 0;
  int rank = 0;
  int size = 0;
  std::int64_t buffers = 0;  // of its device's memory
  std::atomic<bool> aborted{false};
  std::atomic<bool> connected{false};
  std::atomic<int> error{0};
  std::atomic<int> polls_left{0};  // until the last call is no more in progress
  std::function<void()> deferred;  // what the last call puts into streams
  std::vector<int> out;            // sockets by peer
  std::vector<int> in;
  int listener = -1;
  std::atomic<int> running{0};  // from the call to the end
  std::atomic<int> active{0};   // bytes may be moving
  std::mutex sockets;

  void stop() {
    aborted = true;
    const std::lock_guard lock(sockets);
    for (const int socket : out) shutdown(socket, SHUT_RDWR);
    for (const int socket : in) shutdown(socket, SHUT_RDWR);
    if (listener >= 0) shutdown(listener, SHUT_RDWR);
  }
  ~Communicator() {
    for (const int socket : out) close(socket);
    for (const int socket : in) close(socket);
    if (listener >= 0) close(listener);
  }
};

namespace {

using Handle = std::shared_ptr<Communicator>;

struct Library {
  std::mutex mutex;
  std::map<int, int> listeners;  // socket by port, until its communicator is made
  std::map<NcclComm, Handle> communicators;
  std::uintptr_t next_handle = 0x100000;
};

Library& library() {
  static Library* const instance = new Library;
  return *instance;
}

int fate(const char* call) {
  return static_cast<int>(State::get().due(call, current_device()).value_or(0.0));
}

Handle communicator_of(NcclComm comm, const char* caller) {
  const std::lock_guard lock(library().mutex);
  const auto found = library().communicators.find(comm);
  if (found != library().communicators.end()) return found->second;
  State::get().blame(std::string(caller) + " on a communicator that is not there");
  return nullptr;
}

bool write_all(const Communicator& comm, int socket, const void* data, std::size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0 && !comm.aborted) {
    const ssize_t done = ::send(socket, next, bytes, MSG_NOSIGNAL);
    if (done <= 0) return false;
    next += done;
    bytes -= static_cast<std::size_t>(done);
  }
  return bytes == 0;
}

bool read_all(const Communicator& comm, int socket, void* data, std::size_t bytes) {
  char* next = static_cast<char*>(data);
  while (bytes > 0 && !comm.aborted) {
    const ssize_t done = ::recv(socket, next, bytes, 0);
    if (done <= 0) return false;
    next += done;
    bytes -= static_cast<std::size_t>(done);
  }
  return bytes == 0;
}

void wait_for_abort(const Communicator& comm) {
  while (!comm.aborted) usleep(1000);
}

void expect(bool worked, const Handle& comm) {
  // As with NCCL: a transfer that cannot go on never ends, and the communicator says so.
  if (!worked && !comm->aborted) {
    comm->error = 6;  // ncclRemoteError
    wait_for_abort(*comm);
  }
}

void send_to(const Handle& comm, int peer, const void* data, std::size_t bytes, bool lose) {
  const int socket = comm->out[static_cast<std::size_t>(peer)];
  if (lose) return;
  const std::uint64_t size = bytes;
  char seen = 0;
  expect(write_all(*comm, socket, &size, sizeof size) && write_all(*comm, socket, data, bytes) &&
             read_all(*comm, socket, &seen, 1),
         comm);
}

void receive_from(const Handle& comm, int peer, void* into, std::size_t bytes) {
  const int socket = comm->in[static_cast<std::size_t>(peer)];
  std::uint64_t size = 0;
  if (!read_all(*comm, socket, &size, sizeof size)) return expect(false, comm);
  if (size != bytes) return wait_for_abort(*comm);
  const char seen = 1;
  expect(read_all(*comm, socket, into, bytes) && write_all(*comm, socket, &seen, 1), comm);
}

void all_reduce(const Handle& comm, const void* in, void* out, std::size_t count) {
  const std::size_t bytes = count * sizeof(float);
  std::memmove(out, in, bytes);
  if (comm->rank != 0) {
    send_to(comm, 0, out, bytes, false);
    receive_from(comm, 0, out, bytes);
    return;
  }
  auto* const sum = static_cast<float*>(out);
  std::vector<float> more(count);
  for (int peer = 1; peer < comm->size; ++peer) {
    receive_from(comm, peer, more.data(), bytes);
    for (std::size_t i = 0; i < count; ++i) sum[i] += more[i];
  }
  for (int peer = 1; peer < comm->size; ++peer) send_to(comm, peer, out, bytes, false);
}

int listen_on_loopback(int& port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  if (socket < 0) return -1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(socket, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(socket, 64) != 0 ||
      getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    return -1;
  }
  port = ntohs(address.sin_port);
  return socket;
}

int connect_to(int port, const Hello& hello) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  if (socket < 0) return -1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::send(socket, &hello, sizeof hello, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello)) {
    close(socket);
    return -1;
  }
  const int now = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
  return socket;
}

bool connect_to_root(Communicator& comm, int port) {
  const int sends = connect_to(port, {comm.rank, 1});
  const int receives = connect_to(port, {comm.rank, 0});
  const std::lock_guard lock(comm.sockets);
  comm.out[0] = sends;
  comm.in[0] = receives;
  return sends >= 0 && receives >= 0;
}

bool accept_all(Communicator& comm) {
  for (int left = 2 * (comm.size - 1); left > 0 && !comm.aborted; --left) {
    const int socket = accept(comm.listener, nullptr, nullptr);
    Hello hello;
    if (socket < 0 || !read_all(comm, socket, &hello, sizeof hello)) return false;
    const int now = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
    const std::lock_guard lock(comm.sockets);
    (hello.sends != 0 ? comm.in : comm.out).at(static_cast<std::size_t>(hello.rank)) = socket;
  }
  return !comm.aborted;
}

void join(const Handle& comm, int port) {
  if (State::get().due("nccl.init_hang", comm->device)) {
    wait_for_abort(*comm);
    return;
  }
  bool joined = true;
  if (comm->size == 1) {
    std::array<int, 2> pair{};
    joined = socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) == 0;
    const std::lock_guard lock(comm->sockets);
    comm->out[0] = pair[0];
    comm->in[0] = pair[1];
  } else {
    joined = comm->rank == 0 ? accept_all(*comm) : connect_to_root(*comm, port);
  }
  if (joined) {
    comm->connected = true;
  } else if (!comm->aborted) {
    comm->error = kSystemError;
  }
}

/// One call between ncclGroupStart and ncclGroupEnd.
struct Call {
  Handle comm;
  std::shared_ptr<Queue> queue;
  int way = 0;  // calls of one way of one communicator are in order
  std::function<void()> body;
};

thread_local int group_depth = 0;
thread_local std::vector<Call> group_calls;

/// Calls of a group on one stream go on at once, as those of a group must, but for those that go the same way.
void start(const std::vector<Call>& calls) {
  std::map<Queue*, std::vector<Call>> by_queue;
  for (const Call& call : calls) by_queue[call.queue.get()].push_back(call);
  for (auto& [queue, its] : by_queue) {
    for (const Call& call : its) ++call.comm->running;
    queue->push([its = its] {
      std::map<std::pair<fakes::Communicator*, int>, std::vector<std::function<void()>>> ways;
      for (const Call& call : its) ways[{call.comm.get(), call.way}].push_back(call.body);
      std::vector<std::thread> others;
      for (const auto& [way, bodies] : ways) {
        others.emplace_back([&bodies] {
          for (const auto& body : bodies) body();
        });
      }
      for (std::thread& other : others) other.join();
      for (const Call& call : its) --call.comm->running;
    });
  }
}

/// A real non-blocking communicator starts what it was given only while it is polled.
int end_group() {
  std::vector<Call> calls = std::move(group_calls);
  group_calls.clear();
  if (calls.empty()) return kNcclSuccess;
  const Handle first = calls.front().comm;
  for (const Call& call : calls) call.comm->polls_left = kPollsInProgress;
  first->deferred = [calls] { start(calls); };
  return kNcclInProgress;
}

int add(const char* name, NcclComm handle, CudaStream stream, Operation::Kind kind, const void* data, std::size_t bytes,
        int way, const std::function<void(const Handle&)>& body) {
  if (const int error = fate(name)) return error;
  const Handle comm = communicator_of(handle, name);
  const std::shared_ptr<Queue> queue = queue_of(stream, name);
  if (!comm || !queue) return kInvalidArgument;
  if (!comm->connected || comm->polls_left > 0) {
    State::get().blame(std::string(name) + " on a communicator with a call in progress");
    return kInvalidUsage;
  }
  if (comm->error != 0) return comm->error;
  State::get().log({kind, queue->device(), queue->number(), 0, 0, bytes, data});
  const double delay = State::get().value("nccl.delay", comm->device).value_or(0.0);
  const bool hangs = State::get().due("nccl.hang", comm->device).has_value();
  const std::optional<double> async = State::get().due("nccl.async", comm->device);
  group_calls.push_back({comm, queue, way, [comm, delay, hangs, async, body] {
                           if (delay > 0.0) usleep(static_cast<useconds_t>(delay * 1e6));
                           if (async) comm->error = static_cast<int>(*async);
                           if (hangs || async) return wait_for_abort(*comm);
                           ++comm->active;
                           if (!comm->aborted) body(comm);
                           --comm->active;
                         }});
  return group_depth == 0 ? end_group() : kNcclSuccess;
}

}  // namespace
}  // namespace motley::fakes

using namespace motley;         // NOLINT(google-build-using-namespace)
using namespace motley::fakes;  // NOLINT(google-build-using-namespace)

extern "C" {

int ncclGetVersion(int* version) {
  *version = static_cast<int>(State::get().value("nccl_version", -1).value_or(22809));
  return kNcclSuccess;
}

int ncclGetUniqueId(NcclUniqueId* id) {
  if (const int error = fate("ncclGetUniqueId")) return error;
  int port = 0;
  const int socket = listen_on_loopback(port);
  if (socket < 0) return kSystemError;
  const std::lock_guard lock(library().mutex);
  library().listeners[port] = socket;
  std::memcpy(id->bytes.data(), &port, sizeof port);
  return kNcclSuccess;
}

int ncclCommInitRankConfig(NcclComm* comm, int ranks, NcclUniqueId id, int rank, NcclConfig* config) {
  if (const int error = fate("ncclCommInitRankConfig")) return error;
  if (config->magic != 0xcafebeef || config->size < sizeof(NcclConfig) || rank < 0 || rank >= ranks) {
    return kInvalidArgument;
  }
  if (config->blocking != 0) {
    State::get().blame("a blocking communicator");
    return kInvalidArgument;
  }
  int port = 0;
  std::memcpy(&port, id.bytes.data(), sizeof port);
  const auto made = std::make_shared<fakes::Communicator>();
  made->device = current_device();
  made->buffers = static_cast<std::int64_t>(State::get().value("nccl.buffers", made->device).value_or(0.0));
  take_memory(made->device, made->buffers);
  made->rank = rank;
  made->size = ranks;
  made->out.assign(static_cast<std::size_t>(ranks), -1);
  made->in.assign(static_cast<std::size_t>(ranks), -1);
  {
    const std::lock_guard lock(library().mutex);
    if (rank == 0) {
      const auto found = library().listeners.find(port);
      if (found == library().listeners.end()) return kInvalidArgument;
      made->listener = found->second;
      library().listeners.erase(found);
    }
    *comm = reinterpret_cast<NcclComm>(library().next_handle += 16);  // NOLINT(performance-no-int-to-ptr)
    library().communicators[*comm] = made;
  }
  State::get().change([](Counts& counts) { ++counts.communicators; });
  std::thread([made, port] { join(made, port); }).detach();
  return kNcclInProgress;
}

int ncclCommGetAsyncError(NcclComm comm, int* error) {
  const Handle found = communicator_of(comm, "ncclCommGetAsyncError");
  if (!found) return kInvalidArgument;
  *error = found->error;
  if (*error != kNcclSuccess) return kNcclSuccess;
  if (!found->connected) {
    *error = kNcclInProgress;
  } else if (found->polls_left > 0) {
    *error = kNcclInProgress;
    if (--found->polls_left == 0 && found->deferred) std::exchange(found->deferred, nullptr)();
  }
  return kNcclSuccess;
}

int ncclCommFinalize(NcclComm comm) {
  if (const int error = fate("ncclCommFinalize")) return error;
  const Handle found = communicator_of(comm, "ncclCommFinalize");
  if (!found) return kInvalidArgument;
  if (found->running > 0) State::get().blame("ncclCommFinalize with transfers under way");
  found->polls_left = kPollsInProgress;
  return kNcclInProgress;
}

int ncclCommDestroy(NcclComm comm) {
  const Handle found = communicator_of(comm, "ncclCommDestroy");
  if (!found) return kInvalidArgument;
  if (found->polls_left > 0) State::get().blame("ncclCommDestroy before ncclCommFinalize was through");
  const std::lock_guard lock(library().mutex);
  library().communicators.erase(comm);
  take_memory(found->device, -found->buffers);
  State::get().change([](Counts& counts) { --counts.communicators; });
  return kNcclSuccess;
}

int ncclCommAbort(NcclComm comm) {
  const Handle found = communicator_of(comm, "ncclCommAbort");
  if (!found) return kInvalidArgument;
  found->stop();
  while (found->active > 0) usleep(50);  // buffers may be freed afterwards
  const std::lock_guard lock(library().mutex);
  library().communicators.erase(comm);
  take_memory(found->device, -found->buffers);
  State::get().change([](Counts& counts) { --counts.communicators; });
  return kNcclSuccess;
}

int ncclGroupStart() {
  ++group_depth;
  return kNcclSuccess;
}

int ncclGroupEnd() {
  if (group_depth == 0) {
    State::get().blame("ncclGroupEnd without a start");
    return kInvalidUsage;
  }
  if (--group_depth > 0) return kNcclSuccess;
  if (const int error = fate("ncclGroupEnd")) {
    group_calls.clear();
    return error;
  }
  return end_group();
}

int ncclSend(const void* data, std::size_t count, int type, int peer, NcclComm comm, CudaStream stream) {
  const std::size_t bytes = count * bytes_of(type);
  const bool lose = State::get().due("nccl.lose", current_device()).has_value();
  return add("ncclSend", comm, stream, Operation::Kind::Send, data, bytes, 2 * peer,
             [=](const Handle& own) { send_to(own, peer, data, bytes, lose); });
}

int ncclRecv(void* into, std::size_t count, int type, int peer, NcclComm comm, CudaStream stream) {
  const std::size_t bytes = count * bytes_of(type);
  return add("ncclRecv", comm, stream, Operation::Kind::Receive, into, bytes, 2 * peer + 1,
             [=](const Handle& own) { receive_from(own, peer, into, bytes); });
}

int ncclAllReduce(const void* in, void* out, std::size_t count, int type, int operation, NcclComm comm,
                  CudaStream stream) {
  if (type != kNcclFloat || operation != kNcclSum) return kInvalidArgument;
  return add("ncclAllReduce", comm, stream, Operation::Kind::AllReduce, out, count * sizeof(float), -1,
             [=](const Handle& own) { all_reduce(own, in, out, count); });
}

const char* ncclGetErrorString(int error) {
  switch (error) {
    case kUnhandledCudaError:
      return "unhandled cuda error";
    case kSystemError:
      return "unhandled system error";
    case kInvalidArgument:
      return "invalid argument";
    case kInvalidUsage:
      return "invalid usage";
    case 6:
      return "remote process exited or there was a network error";
    default:
      return "a scripted error";
  }
}

const char* ncclGetLastError(NcclComm /*comm*/) {
  return "";
}

}  // extern "C"
