#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace motley {

/// One number of a step under a name such as "loss" or "busy_s/rank 0"; what is before the slash groups charts.
struct Scalar {
  std::string tag;
  float value = 0.0F;
};

/// An event file of TensorBoard: TFRecord frames that hold Event messages
/// (https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto and summary.proto). Only
/// the fields that scalars and texts need, written by hand: libprotobuf would be there for nothing else.
class EventFile {
 public:
  /// A new file "events.out.tfevents.SECONDS.HOST.PID" in `folder`, which is made where there is none. Throws Fault
  /// when it cannot be written.
  explicit EventFile(const std::filesystem::path& folder);

  /// Flushed, so that a run that is killed keeps what it wrote. Throws Fault.
  void scalars(std::int64_t step, std::span<const Scalar> scalars);
  /// Markdown under the tab "Text".
  void text(const std::string& tag, std::string_view markdown);

  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  void append(std::string_view event);

  std::filesystem::path file_;
  std::ofstream out_;
};

/// CRC-32C (Castagnoli), as RFC 3720 has it. O(bytes).
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

}  // namespace motley
