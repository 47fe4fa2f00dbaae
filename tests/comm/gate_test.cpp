#include "motley/comm/detail/gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "motley/base/error.h"
#include "motley/comm/detail/endpoint.h"
#include "motley/comm/detail/run_token.h"
#include "ranks.h"

namespace motley {
namespace {

using testing::HasSubstr;

/// Two ranks' doors, before anything is connected.
struct TwoGates {
  explicit TwoGates(const RunToken& first, const RunToken& second, bool loopback_only) {
    for (int rank = 0; rank < 2; ++rank) {
      endpoints.push_back(std::make_shared<Endpoint>(rank, 2, with_deadline(1)));
      gates.push_back(std::make_unique<Gate>(*endpoints.back(), rank == 0 ? first : second, loopback_only, ""));
      addresses.push_back(gates.back()->address());
    }
  }
  ~TwoGates() {
    for (const auto& endpoint : endpoints) endpoint->close(false, false);
  }
  void start() {
    for (const auto& gate : gates) gate->start(addresses);
  }
  /// What the two sides of stream 5 fail with, "" for a connection.
  std::pair<std::string, std::string> connect(std::uint64_t first_members, std::uint64_t second_members) {
    auto taking =
        std::async(std::launch::async, [&] { return failure_of([&] { (void)gates[0]->open(1, 5, first_members); }); });
    const std::string reaching = failure_of([&] { (void)gates[1]->open(0, 5, second_members); });
    return {taking.get(), reaching};
  }

  std::vector<std::shared_ptr<Endpoint>> endpoints;
  std::vector<std::unique_ptr<Gate>> gates;
  std::vector<HostAddress> addresses;
};

TEST(Gate, LetsInWhoKnowsTheRun) {
  const RunToken token = new_run_token();
  TwoGates two(token, token, true);
  two.start();
  const auto [taking, reaching] = two.connect(3, 3);
  EXPECT_EQ(taking, "");
  EXPECT_EQ(reaching, "");
}

TEST(Gate, TakesNoStrangerForARank) {
  TwoGates two(new_run_token(), new_run_token(), true);
  two.start();
  const auto [taking, reaching] = two.connect(3, 3);
  EXPECT_EQ(taking, "rank 1 did not connect to rank 0 within 1.0 s");
  EXPECT_THAT(reaching, HasSubstr("rank 1 could not reach rank 0 at 127.0.0.1:"));
}

TEST(Gate, RefusesAConnectionForAnotherGroup) {
  const RunToken token = new_run_token();
  TwoGates two(token, token, true);
  two.start();
  EXPECT_THAT(two.connect(3, 4).first, HasSubstr("of different ranks"));
}

TEST(Gate, ReachesAnotherHostThroughItsInterface) {
  const RunToken token = new_run_token();
  TwoGates two(token, token, false);
  if (two.addresses[0].count == 0) GTEST_SKIP() << "this machine has no interface but loopback";
  // As another host would see it: no common loopback.
  two.addresses[0].host[0] = '?';
  two.start();
  const auto [taking, reaching] = two.connect(3, 3);
  EXPECT_EQ(taking, "");
  EXPECT_EQ(reaching, "");
}

TEST(Gate, NamesAnAddressThatThisHostDoesNotHave) {
  const auto endpoint = std::make_shared<Endpoint>(0, 1, with_deadline(1));
  EXPECT_THAT([&] { Gate(*endpoint, new_run_token(), false, "203.0.113.7"); },
              testing::ThrowsMessage<InputError>(HasSubstr("address: found \"203.0.113.7\"")));
  EXPECT_THAT([&] { Gate(*endpoint, new_run_token(), false, "eth0"); },
              testing::ThrowsMessage<InputError>(HasSubstr("address: found \"eth0\"")));
  endpoint->close(false, false);
}

}  // namespace
}  // namespace motley
