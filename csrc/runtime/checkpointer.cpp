#include "motley/runtime/checkpointer.h"

#include <algorithm>
#include <chrono>

#include "motley/base/error.h"
#include "motley/base/file.h"
#include "motley/base/log.h"
#include "motley/comm/gather.h"
#include "motley/record/checksum.h"
#include "motley/record/safetensors.h"

namespace motley {
namespace {

using nlohmann::json;

Seconds steady_now() {
  return {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}

/// What a rank wrote, for rank 0.
std::filesystem::path part_of(const std::filesystem::path& folder, int rank) {
  return folder / fmt::format("rank-{}.json", rank);
}

}  // namespace

Checkpointer::Checkpointer(Communicator& communicator, Options options)
    : communicator_(communicator),
      options_(std::move(options)),
      rank_(communicator.rank()),
      ranks_(communicator.size()),
      thread_([this] { work(); }) {}

Checkpointer::~Checkpointer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Checkpointer::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) {
      return;
    }
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    busy_ = true;
    lock.unlock();
    std::string failure;
    try {
      task();
    } catch (const std::exception& error) {
      failure = error.what();
    }
    lock.lock();
    busy_ = false;
    if (!failure.empty()) {
      failure_ = failure;
      if (!warned_) {
        spdlog::warn("checkpoint: {}; training goes on, earlier checkpoints stay", failure);
        warned_ = true;
      }
    }
    changed_.notify_all();
  }
}

void Checkpointer::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void Checkpointer::wait_idle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return tasks_.empty() && !busy_; });
}

Seconds Checkpointer::save(std::int64_t step, const std::map<int, Stage*>& stages) {
  const Seconds start = steady_now();
  // One copy at a time, and none is forgotten: all ranks see the same saved_ and agreed_.
  wait_idle();
  if (saved_ > agreed_) {
    settle();
  }
  auto layers = std::make_shared<std::map<int, std::vector<std::byte>>>();
  for (const auto& [index, stage] : stages) {
    for (const LayerState& layer : stage->layers()) {
      layers->emplace(layer.index(), snapshot(layer, step));
    }
  }
  saved_ = step;
  post([this, step, layers] { write_files(step, *layers); });
  return steady_now() - start;
}

void Checkpointer::write_files(std::int64_t step, const std::map<int, std::vector<std::byte>>& layers) {
  const Seconds start = steady_now();
  const std::filesystem::path folder = checkpoint_folder(options_.folder, step);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw Fault::of("{}: cannot be made: {}", folder.string(), error.message());
  }
  json part = json::array();
  for (const auto& [layer, bytes] : layers) {
    const std::string name = fmt::format("layer-{:03d}.safetensors", layer);
    write_durably(folder / name, bytes);
    part.push_back({{"layer", layer}, {"file", name}, {"bytes", bytes.size()}, {"checksum", checksum(bytes)}});
  }
  write_durably(part_of(folder, rank_), part.dump());
  const std::lock_guard lock(mutex_);
  durable_ = step;
  write_time_ = steady_now() - start;
}

std::int64_t Checkpointer::durable() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

void Checkpointer::agreed(std::int64_t step) {
  if (step <= agreed_) {
    return;
  }
  agreed_ = step;
  if (rank_ == 0) {
    post([this, step] { write_complete(step); });
  }
}

void Checkpointer::write_complete(std::int64_t step) {
  Checkpoint checkpoint{checkpoint_folder(options_.folder, step), step, options_.settings, {}};
  std::vector<std::filesystem::path> parts;
  for (int rank = 0; rank < ranks_; ++rank) {
    parts.push_back(part_of(checkpoint.folder, rank));
    if (!std::filesystem::exists(parts.back())) {
      throw Fault::of("{}: rank 0 does not see it: rank {}'s save failed, or not all hosts share the folder",
                      parts.back().string(), rank);
    }
    const std::vector<std::byte> bytes = read_bytes(parts.back());
    const char* text = reinterpret_cast<const char*>(bytes.data());
    for (const json& entry : json::parse(text, text + bytes.size())) {
      checkpoint.files.push_back({entry.at("layer"), entry.at("file"), entry.at("bytes"), entry.at("checksum")});
    }
  }
  std::sort(checkpoint.files.begin(), checkpoint.files.end(),
            [](const CheckpointFile& a, const CheckpointFile& b) { return a.layer < b.layer; });
  MOTLEY_CHECK(static_cast<int>(checkpoint.files.size()) == options_.layers, "{} of {} layers in {}",
               checkpoint.files.size(), options_.layers, checkpoint.folder.string());
  write_manifest(checkpoint);
  for (const std::filesystem::path& part : parts) {
    std::filesystem::remove(part);
  }
  remove_older(step);
  const std::lock_guard lock(mutex_);
  complete_ = Complete{checkpoint.folder, write_time_};
}

void Checkpointer::remove_older(std::int64_t step) {
  const std::vector<std::int64_t> steps = checkpoints_in(options_.folder);
  const auto upper = std::upper_bound(steps.begin(), steps.end(), step);
  const auto kept = std::min<std::ptrdiff_t>(std::max(options_.keep, 1), upper - steps.begin());
  const std::int64_t oldest_kept = *(upper - kept);
  for (const auto& entry : std::filesystem::directory_iterator(options_.folder)) {
    // Complete ones beyond `keep`, and what a broken save left: both lie before the oldest that is kept.
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.starts_with("step-") &&
        entry.path() < checkpoint_folder(options_.folder, oldest_kept) && name.size() == 11) {
      std::filesystem::remove(entry.path() / "manifest.json");  // first: half a removal must not look complete
      std::filesystem::remove_all(entry.path());
    }
  }
}

void Checkpointer::settle() {
  wait_idle();
  const std::vector<double> durable =
      gather(communicator_, std::vector{static_cast<double>(this->durable())}, "checkpoint");
  agreed(static_cast<std::int64_t>(*std::min_element(durable.begin(), durable.end())));
  wait_idle();
}

void Checkpointer::finish() {
  settle();
  std::string failure;
  {
    const std::lock_guard lock(mutex_);
    failure = failure_;
  }
  const bool failed =
      agreed_ < saved_ ||
      (rank_ == 0 && saved_ >= 0 && (!complete_ || complete_->folder != checkpoint_folder(options_.folder, saved_)));
  const std::vector<double> any = gather(communicator_, std::vector{failed ? 1.0 : 0.0}, "checkpoint complete");
  if (std::any_of(any.begin(), any.end(), [](double value) { return value > 0.0; })) {
    // One rank speaks for all, and it may be another one's disk that is full.
    const std::vector<std::string> failures = gather(communicator_, failure, "checkpoint failure");
    const auto first = std::find_if(failures.begin(), failures.end(), [](const auto& text) { return !text.empty(); });
    throw Fault::of("the checkpoint of step {} is not complete{}", saved_,
                    first == failures.end() ? "" : ": " + *first);
  }
}

std::optional<Checkpointer::Complete> Checkpointer::complete() const {
  const std::lock_guard lock(mutex_);
  return complete_;
}

}  // namespace motley
