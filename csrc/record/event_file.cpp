#include "motley/record/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <climits>

#include "motley/base/error.h"
#include "motley/base/host_name.h"

namespace motley {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < CHAR_BIT; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0x82F63B78U : crc >> 1U;
    }
    table[byte] = crc;
  }
  return table;
}

/// A checksum over data that holds checksums would be weak, so TFRecord rotates it and adds a constant.
std::uint32_t masked(std::uint32_t crc) {
  return std::rotr(crc, 15) + 0xA282EAD8U;
}

template <typename Number>
std::string little_endian(Number number) {
  std::string bytes(sizeof(Number), '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(number & 0xFFU);
    number >>= CHAR_BIT;
  }
  return bytes;
}

// Protobuf's wire format (https://protobuf.dev/programming-guides/encoding): a key, then a value by the key's type.
enum class Wire : std::uint32_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80U; value >>= 7U) {
    bytes += static_cast<char>((value & 0x7FU) | 0x80U);
  }
  return bytes += static_cast<char>(value);
}

std::string key(std::uint32_t field, Wire wire) {
  return varint(field << 3U | static_cast<std::uint32_t>(wire));
}

std::string number(std::uint32_t field, std::uint64_t value) {
  return key(field, Wire::Varint) + varint(value);
}

std::string real(std::uint32_t field, double value) {
  return key(field, Wire::Fixed64) + little_endian(std::bit_cast<std::uint64_t>(value));
}

std::string real(std::uint32_t field, float value) {
  return key(field, Wire::Fixed32) + little_endian(std::bit_cast<std::uint32_t>(value));
}

/// A string or a message within a message.
std::string bytes(std::uint32_t field, std::string_view content) {
  return key(field, Wire::Bytes).append(varint(content.size())).append(content);
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Fields of the messages.
std::string event(std::int64_t step, std::string_view rest) {
  return real(1, now_s()) + number(2, static_cast<std::uint64_t>(step)) + std::string(rest);
}
std::string file_version() {
  return bytes(3, "brain.Event:2");
}
std::string summary(std::string_view values) {
  return bytes(5, values);
}
std::string scalar_value(const Scalar& scalar) {
  return bytes(1, bytes(1, scalar.tag) + real(2, scalar.value));
}
std::string text_value(const std::string& tag, std::string_view markdown) {
  constexpr std::uint64_t kString = 7;       // DT_STRING
  constexpr std::uint64_t kTensorClass = 2;  // DATA_CLASS_TENSOR
  const std::string tensor = number(1, kString) + bytes(2, "") + bytes(8, markdown);
  const std::string metadata = bytes(1, bytes(1, "text")) + number(4, kTensorClass);
  return bytes(1, bytes(1, tag) + bytes(8, tensor) + bytes(9, metadata));
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = crc_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<std::uint8_t>(byte)) & 0xFFU] ^ (crc >> CHAR_BIT);
  }
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder)
    : file_(folder / fmt::format("events.out.tfevents.{:010.0f}.{}.{}", now_s(), host_name(), getpid())) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  out_.open(file_, std::ios::binary | std::ios::trunc);
  append(event(0, file_version()));
}

void EventFile::scalars(std::int64_t step, std::span<const Scalar> scalars) {
  std::string values;
  for (const Scalar& scalar : scalars) {
    values += scalar_value(scalar);
  }
  append(event(step, summary(values)));
}

void EventFile::text(const std::string& tag, std::string_view markdown) {
  append(event(0, summary(text_value(tag, markdown))));
}

void EventFile::append(std::string_view event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  out_ << length << little_endian(masked(crc32c(length))) << event << little_endian(masked(crc32c(event)));
  out_.flush();
  if (!out_) {
    throw Fault::of("{}: cannot be written", file_.string());
  }
}

}  // namespace motley
