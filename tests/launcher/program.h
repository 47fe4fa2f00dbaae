#pragma once

#include <filesystem>
#include <string>

namespace motley {

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

/// `command` by a shell in the source folder, at most two minutes.
[[nodiscard]] Outcome shell(const std::string& command);

/// `motley ARGUMENTS`, in an environment with these changes ("NAME=VALUE").
[[nodiscard]] Outcome motley_program(const std::string& arguments, const std::string& environment = "");

/// The same on `ranks` ranks under plain mpirun.
[[nodiscard]] Outcome motley_on_ranks(int ranks, const std::string& arguments, const std::string& environment = "");

[[nodiscard]] std::string text_of(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& text);

/// A folder of its own that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace motley
