#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "fuzz.h"

namespace motley::fuzz {
namespace {

class Folder {
 public:
  Folder() {
    const std::filesystem::path memory = "/dev/shm";
    const auto parent = std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "motley-fuzz-XXXXXX").string();
    MOTLEY_CHECK(mkdtemp(pattern.data()) != nullptr, "no temporary folder");
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

const std::filesystem::path& folder() {
  static const Folder made;
  return made.path();
}

std::filesystem::path put(const std::string& name, std::string_view content) {
  const std::filesystem::path file = folder() / name;
  std::ofstream(file, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  return file;
}

}  // namespace motley::fuzz
