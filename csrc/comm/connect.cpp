#include <mpi.h>

#include <vector>

#include "motley/comm/communicator.h"
#include "motley/comm/detail/endpoint.h"
#include "motley/comm/detail/gate.h"
#include "motley/comm/detail/mpi_link.h"
#include "motley/comm/detail/mpi_process.h"
#include "motley/comm/detail/run_token.h"
#include "motley/comm/detail/tcp_link.h"

namespace motley {
namespace {

template <typename Value>
std::vector<Value> gather_all(const Value& mine, int size) {
  std::vector<Value> all(static_cast<std::size_t>(size));
  MPI_Allgather(&mine, sizeof(Value), MPI_BYTE, all.data(), sizeof(Value), MPI_BYTE, MPI_COMM_WORLD);
  return all;
}

bool all_on_this_host(int size) {
  const auto hosts = gather_all(host_identity(), size);
  for (const auto& host : hosts) {
    if (host != hosts.front()) return false;
  }
  return true;
}

int rank_on_this_host() {
  MPI_Comm host = MPI_COMM_NULL;
  int rank = 0;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_rank(host, &rank);
  MPI_Comm_free(&host);
  return rank;
}

}  // namespace

std::unique_ptr<Communicator> connect(const CommOptions& options) {
  auto mpi = std::make_shared<MpiProcess>();
  const int size = mpi->size();
  auto endpoint = std::make_shared<Endpoint>(mpi->rank(), size, options);
  mpi->watch(endpoint->failure_state());
  endpoint->hold(std::move(mpi));
  endpoint->set_local_rank(rank_on_this_host());
  RunToken token = new_run_token();
  MPI_Bcast(token.data(), static_cast<int>(token.size()), MPI_BYTE, 0, MPI_COMM_WORLD);
  auto gate = std::make_unique<Gate>(*endpoint, token, all_on_this_host(size), options.address);
  gate->start(gather_all(gate->address(), size));
  std::unique_ptr<Transport> transport;
  if (options.transport == "mpi") {
    transport = std::make_unique<MpiTransport>(*endpoint);
  } else {
    transport = std::make_unique<TcpTransport>(*endpoint, *gate);
  }
  endpoint->join(std::move(gate), std::move(transport));
  return std::make_unique<Communicator>(std::move(endpoint));
}

}  // namespace motley
