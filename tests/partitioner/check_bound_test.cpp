#include "motley/partitioner/check_bound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "instances.h"
#include "motley/partitioner/check.h"
#include "motley/partitioner/synthetic.h"
#include "motley/plan/files.h"

namespace motley {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

/// A plan that nobody can enumerate, with its certificate; near enough by prices of places alone.
class CheckBound : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    profile_ = new Profile(synthetic_profile({60, 32, 4, 8, 1}));
    SearchOptions options = synthetic_options();
    options.gap = 0.02;
    plan_ = new Plan(found(find_plan("parametric", *profile_, options)).plan);
  }
  static void TearDownTestSuite() {
    delete profile_;
    delete plan_;
  }
  CheckBound() : certificate_(*plan_->certificate), options_(synthetic_options()) {}

  [[nodiscard]] std::vector<std::string> problems() const { return check_bound(certificate_, *profile_, options_); }

  static Profile* profile_;
  static Plan* plan_;
  Certificate certificate_;
  SearchOptions options_;
};

Profile* CheckBound::profile_ = nullptr;
Plan* CheckBound::plan_ = nullptr;

TEST_F(CheckBound, ProvesWhatTheSolverClaims) {
  for (const BoundProof& proof : certificate_.proofs) ASSERT_FALSE(proof.chains.has_value());
  EXPECT_THAT(problems(), IsEmpty());
  const Checked checked = check_plan(*plan_, *profile_, space_of(*plan_));
  EXPECT_THAT(checked.problems, IsEmpty());
  EXPECT_EQ(checked.proven_bound, certificate_.lower_bound);
  EXPECT_THAT(checked.how, HasSubstr("prices"));
}

TEST_F(CheckBound, ProvesItFromTheFile) {
  const nlohmann::json file = to_json(*plan_);
  const Plan read = plan_from_json(nlohmann::json::parse(file.dump()), "plan.json");
  EXPECT_EQ(to_json(read), file);
  EXPECT_THAT(check_plan(read, *profile_, space_of(read)).problems, IsEmpty());
}

TEST_F(CheckBound, RefusesABoundThatIsALittleTooHigh) {
  certificate_.proven_bound = certificate_.proven_bound * 1.003;  // the solver stops at 0.1 %
  EXPECT_THAT(problems(), Contains(HasSubstr("is not refuted")));
}

TEST_F(CheckBound, RefusesTheCertificateOfAnotherProfile) {
  Profile faster = *profile_;
  for (auto& [_, table] : faster.model.devices) {
    for (auto& row : table.busy.by_size) {
      for (LayerTimes& times : row) times.backward = times.backward * 0.98;
    }
  }
  EXPECT_THAT(check_bound(certificate_, faster, options_), Contains(HasSubstr("is not refuted")));
  Profile larger = *profile_;
  for (Device& device : larger.cluster.devices) device.memory = device.memory * 4;
  EXPECT_THAT(check_bound(certificate_, larger, options_), Contains(HasSubstr("is not refuted")));
  EXPECT_THAT(check_plan(*plan_, larger, options_).problems, Contains(HasSubstr("profile_fingerprint")));
}

TEST_F(CheckBound, RefusesTheCertificateOfALargerSpace) {
  certificate_.proofs.erase(certificate_.proofs.begin());
  EXPECT_THAT(problems(), Contains(HasSubstr("none found for micro-batch size")));
  certificate_ = *plan_->certificate;
  options_.schedules = {"1f1b", "gpipe"};
  EXPECT_THAT(problems(), Contains(HasSubstr("gpipe")));
}

TEST_F(CheckBound, RefusesPricesThatProveNothing) {
  for (BoundProof& proof : certificate_.proofs) proof.rounds.pop_back();
  EXPECT_FALSE(problems().empty());
  certificate_ = *plan_->certificate;
  for (BoundProof& proof : certificate_.proofs) {
    for (double& value : proof.layer_values) value = -value;
  }
  EXPECT_THAT(problems(), Contains(HasSubstr("layer_values")));
  certificate_ = *plan_->certificate;
  certificate_.proofs.front().layer_values.pop_back();
  EXPECT_THAT(problems(), Contains(HasSubstr("layer_values")));
  certificate_ = *plan_->certificate;
  for (BoundProof& proof : certificate_.proofs) {
    for (BoundProof::Round& round : proof.rounds) {
      for (BoundProof::Table& table : round.tables) {
        table.depths = {-1.0};
      }
    }
  }
  EXPECT_FALSE(problems().empty());
  certificate_ = *plan_->certificate;
  for (BoundProof& proof : certificate_.proofs) {
    for (BoundProof::Table& table : proof.rounds.back().tables) table.up_to_s *= 0.5;
  }
  EXPECT_FALSE(problems().empty());
}

TEST_F(CheckBound, RefusesABoundAboveOneDeviceAlone) {
  Profile alone = *profile_;
  for (auto& [_, table] : alone.model.devices) {
    for (auto& row : table.alone.by_size) {
      for (LayerTimes& times : row) times.forward = times.backward = Seconds{1e-9};
    }
  }
  for (Device& device : alone.cluster.devices) device.memory = Bytes{1'000'000'000'000'000};
  EXPECT_THAT(check_bound(certificate_, alone, options_), Contains(HasSubstr("one device alone")));
}

}  // namespace
}  // namespace motley
