#include <future>
#include <vector>

#include "motley/base/error.h"
#include "motley/comm/communicator.h"
#include "motley/comm/detail/endpoint.h"
#include "motley/comm/detail/gate.h"
#include "motley/comm/detail/run_token.h"
#include "motley/comm/detail/tcp_link.h"

namespace motley {

std::vector<std::unique_ptr<Communicator>> connect_in_process(int size, const CommOptions& options) {
  if (size < 1) throw InputError::of("number of ranks: found {}, expected at least 1", size);
  if (options.transport != "tcp") {
    throw InputError::of("transport: found \"{}\", expected \"tcp\" between ranks of one process", options.transport);
  }
  const RunToken token = new_run_token();
  std::vector<std::shared_ptr<Endpoint>> endpoints;
  std::vector<std::unique_ptr<Gate>> gates;
  std::vector<HostAddress> addresses;
  for (int rank = 0; rank < size; ++rank) {
    endpoints.push_back(std::make_shared<Endpoint>(rank, size, options));
    gates.push_back(std::make_unique<Gate>(*endpoints.back(), token, true, ""));
    addresses.push_back(gates.back()->address());
  }
  // Ranks wait for each other while they join, so each needs a thread.
  std::vector<std::future<std::unique_ptr<Communicator>>> joining;
  for (std::size_t rank = 0; rank < endpoints.size(); ++rank) {
    gates[rank]->start(addresses);
    joining.push_back(std::async(std::launch::async, [&endpoint = endpoints[rank], &gate = gates[rank]] {
      auto transport = std::make_unique<TcpTransport>(*endpoint, *gate);
      endpoint->join(std::move(gate), std::move(transport));
      return std::make_unique<Communicator>(std::move(endpoint));
    }));
  }
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (auto& joined : joining) communicators.push_back(joined.get());
  return communicators;
}

}  // namespace motley
