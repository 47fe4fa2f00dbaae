#include "motley/cuda/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "fakes/fakes.h"
#include "motley/cuda/memory.h"

namespace motley {
namespace {

using fakes::Operation;
using testing::HasSubstr;
using testing::IsEmpty;

class Streams : public testing::Test {
 protected:
  Streams() { fakes::control().play(""); }
  ~Streams() override {
    EXPECT_THAT(fakes::control().misuse(), IsEmpty());
    const fakes::Counts counts = fakes::control().counts();
    EXPECT_EQ(counts.streams + counts.events + counts.device_blocks + counts.pinned_blocks, 0);
  }
};

void wait_until_set(void* flag) {
  static_cast<std::atomic<bool>*>(flag)->wait(false);
}

TEST_F(Streams, WorkOfAStreamIsInOrderAndThatOfOthersIsNot) {
  const CudaDevice device(fakes::cuda(), 0);
  Stream held(device);
  Stream other(device);
  std::atomic<bool> go{false};
  const StreamEvent behind(device);
  const StreamEvent beside(device);
  EXPECT_TRUE(behind.passed());  // never recorded
  held.call(&wait_until_set, &go);
  held.record(behind);
  other.record(beside);
  other.finish();
  EXPECT_TRUE(beside.passed());
  EXPECT_FALSE(behind.passed());
  go = true;
  go.notify_all();
  held.finish();
  EXPECT_TRUE(behind.passed());
}

TEST_F(Streams, AWaitTakesTheRecordThatIsThereWhenItIsAskedFor) {
  const CudaDevice device(fakes::cuda(), 0);
  Stream from(device);
  Stream to(device);
  std::atomic<bool> go{false};
  const StreamEvent event(device);
  from.record(event);
  to.wait(event);  // of the first record alone
  from.call(&wait_until_set, &go);
  from.record(event);
  to.finish();
  go = true;
  go.notify_all();
  from.finish();

  std::vector<Operation> waits;
  std::vector<Operation> records;
  for (const Operation& operation : fakes::control().operations()) {
    if (operation.kind == Operation::Kind::Wait) waits.push_back(operation);
    if (operation.kind == Operation::Kind::Record) records.push_back(operation);
  }
  ASSERT_EQ(waits.size(), 1U);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(waits[0].mark, records[0].mark);
  EXPECT_EQ(waits[0].marked_stream, records[0].stream);
  EXPECT_NE(waits[0].stream, records[0].stream);
}

TEST_F(Streams, CopiesAreInOrderWithTheRest) {
  const CudaDevice device(fakes::cuda(), 0);
  Stream stream(device);
  const CudaMemory from(device, CudaMemory::Kind::Pinned, 5);
  const CudaMemory on_device(device, CudaMemory::Kind::Device, 5);
  const CudaMemory back(device, CudaMemory::Kind::Pinned, 5);
  for (std::size_t i = 0; i < 5; ++i) from.bytes()[i] = static_cast<std::byte>(i * 7);
  stream.copy(on_device.bytes().data(), from.bytes().data(), 5);
  stream.copy(back.bytes().data(), on_device.bytes().data(), 5);
  stream.copy(nullptr, nullptr, 0);
  stream.finish();
  EXPECT_EQ(std::memcmp(from.bytes().data(), back.bytes().data(), 5), 0);
}

TEST_F(Streams, TimedEventsTellWhatWasBetweenThem) {
  const CudaDevice device(fakes::cuda(), 0);
  Stream stream(device);
  const StreamEvent start(device, StreamEvent::Timing::On);
  const StreamEvent end(device, StreamEvent::Timing::On);
  stream.record(start);
  stream.call([](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }, nullptr);
  stream.record(end);
  stream.finish();
  EXPECT_GE(end.since(start).value, 0.02);
}

TEST_F(Streams, ErrorsNameTheCallAndStayOnTheDevice) {
  fakes::control().play("sticky@1=700;devices=2");
  const CudaDevice device(fakes::cuda(), 0);
  const CudaDevice healthy(fakes::cuda(), 1);
  {
    Stream stream(device);
    const StreamEvent event(device);
    stream.record(event);
    stream.record(event);
    for (int i = 0; i < 2; ++i) {
      try {
        (void)event.passed();
        ADD_FAILURE() << "nothing thrown";
      } catch (const CudaError& error) {
        EXPECT_THAT(error.what(), HasSubstr("cuda:0: cudaSetDevice: an illegal memory access was encountered (CUDA "
                                            "error 700)"));
      }
    }
  }
  Stream stream(healthy);
  stream.finish();
}

TEST_F(Streams, MoveWithTheirHandles) {
  const CudaDevice device(fakes::cuda(), 0);
  Stream first(device);
  Stream stream = std::move(first);
  StreamEvent one(device);
  const StreamEvent event = std::move(one);
  stream.record(event);
  stream.finish();
  EXPECT_TRUE(event.passed());
}

}  // namespace
}  // namespace motley
