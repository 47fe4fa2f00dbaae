#include "motley/base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "motley/base/error.h"

namespace motley {
namespace {

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& file, int flags)
      : name_(file.string()), fd_(open(file.c_str(), flags, 0666)) {
    if (fd_ < 0) {
      fail("opened");
    }
  }
  ~Descriptor() { close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write_all(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) {
        continue;
      }
      if (written < 0) {
        fail("written");
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void sync() const {
    if (fsync(fd_) != 0) {
      fail("written to the disk");
    }
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Fault::of("{}: cannot be {}: {}", name_, what, std::strerror(errno));
  }

  std::string name_;
  int fd_;
};

}  // namespace

std::string read_text(const std::filesystem::path& file, std::string_view expected) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  // A folder opens and cannot be read; an empty file has nothing to insert, which fails too.
  if (in && in.peek() != std::ifstream::traits_type::eof()) {
    text << in.rdbuf();
  }
  if (!in.is_open() || in.bad() || std::filesystem::is_directory(file)) {
    throw InputError::of("{}: cannot be read ({}), expected {}", file.string(), std::strerror(errno), expected);
  }
  return text.str();
}

void write_durably(const std::filesystem::path& file, std::span<const std::byte> bytes) {
  std::filesystem::path partial = file;
  partial += ".partial";
  std::error_code error;
  if (file.has_parent_path() && !std::filesystem::create_directories(file.parent_path(), error) && error) {
    throw Fault::of("{}: cannot be made: {}", file.parent_path().string(), error.message());
  }
  try {
    const Descriptor out(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
    out.write_all(bytes);
    out.sync();
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);  // a full disk needs the room
    throw;
  }
  std::filesystem::rename(partial, file, error);
  if (error) {
    throw Fault::of("{}: cannot be renamed from {}: {}", file.string(), partial.string(), error.message());
  }
  Descriptor(file.has_parent_path() ? file.parent_path() : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC).sync();
}

void write_durably(const std::filesystem::path& file, std::string_view text) {
  write_durably(file, std::as_bytes(std::span(text)));
}

}  // namespace motley
