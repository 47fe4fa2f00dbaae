#include "motley/record/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "motley/base/error.h"
#include "motley/base/file.h"

namespace motley {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<std::string_view, DType>, 9> kTypes{{{"F64", DType::Float64},
                                                                    {"F32", DType::Float32},
                                                                    {"BF16", DType::BFloat16},
                                                                    {"F16", DType::Float16},
                                                                    {"I64", DType::Int64},
                                                                    {"I32", DType::Int32},
                                                                    {"U8", DType::UInt8},
                                                                    {"BOOL", DType::Bool},
                                                                    {"U16", DType::UInt16}}};

/// The first of each pair, in words. (Not std::views::keys: clang 14, which builds the fuzzers, cannot with GCC's.)
template <typename Pairs>
std::string keys_of(const Pairs& pairs) {
  std::string text;
  for (const auto& [key, ignored] : pairs) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", key);
  }
  return text;
}

DType dtype_from(const std::string& name, const std::string& where) {
  for (const auto& [text, dtype] : kTypes) {
    if (text == name) {
      return dtype;
    }
  }
  throw InputError::of("{}: found type \"{}\", expected one of {}", where, name, keys_of(kTypes));
}

std::string_view type_name(DType dtype) {
  for (const auto& [text, candidate] : kTypes) {
    if (candidate == dtype) {
      return text;
    }
  }
  MOTLEY_CHECK(false, "type without a safetensors name");
  return {};
}

}  // namespace

std::vector<std::byte> read_bytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in || !std::filesystem::is_regular_file(file)) {
    throw InputError::of("{}: cannot be read, expected a file", file.string());
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(in.tellg()));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) {
    throw InputError::of("{}: cannot be read to its end", file.string());
  }
  return bytes;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file)
    : SafetensorsFile(read_bytes(file), file.string()) {}

SafetensorsFile::SafetensorsFile(std::vector<std::byte> bytes, std::string source)
    : source_(std::move(source)), bytes_(std::move(bytes)) {
  std::uint64_t header_size = 0;
  if (bytes_.size() < sizeof header_size) {
    throw InputError::of("{}: {} bytes long, expected at least the 8 of a safetensors header", source_, bytes_.size());
  }
  std::memcpy(&header_size, bytes_.data(), sizeof header_size);
  if (header_size > bytes_.size() - sizeof header_size) {
    throw InputError::of(
        "{}: header says {} bytes, the file has {} after its first 8 (cut off, or no safetensors file)", source_,
        header_size, bytes_.size() - sizeof header_size);
  }
  const std::size_t data_begin = sizeof header_size + header_size;
  const std::size_t data_size = bytes_.size() - data_begin;
  const char* text = reinterpret_cast<const char*>(bytes_.data()) + sizeof header_size;
  const json header = json::parse(text, text + header_size, nullptr, false);
  if (!header.is_object()) {
    throw InputError::of("{}: header is no JSON object", source_);
  }
  std::map<std::uint64_t, std::uint64_t> ends;  // by where a tensor begins; those without elements are left out
  for (const auto& [name, entry] : header.items()) {
    const std::string where = fmt::format("{}: tensor \"{}\"", source_, name);
    try {
      if (name == "__metadata__") {
        metadata_ = entry.get<std::map<std::string, std::string>>();
        continue;
      }
      StoredTensor tensor;
      tensor.dtype = dtype_from(entry.at("dtype").get<std::string>(), where);
      tensor.shape = entry.at("shape").get<std::vector<std::int64_t>>();
      const auto offsets = entry.at("data_offsets").get<std::vector<std::uint64_t>>();
      if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_size) {
        throw InputError::of("{}: data_offsets leave the file's {} data bytes", where, data_size);
      }
      // Unsigned arithmetic with an explicit limit: shapes come from the file and may be huge.
      std::uint64_t expected = static_cast<std::uint64_t>(size_of(tensor.dtype).value);
      for (const std::int64_t extent : tensor.shape) {
        if (extent < 0 || (extent > 0 && expected > (std::uint64_t{1} << 60) / static_cast<std::uint64_t>(extent))) {
          throw InputError::of("{}: shape has extent {}", where, extent);
        }
        expected *= static_cast<std::uint64_t>(extent);
      }
      if (expected != offsets[1] - offsets[0]) {
        throw InputError::of("{}: {} bytes stored, its shape and type need {}", where, offsets[1] - offsets[0],
                             expected);
      }
      if (expected > 0 && !ends.emplace(offsets[0], offsets[1]).second) {
        throw InputError::of("{}: begins at byte {}, where another one does", where, offsets[0]);
      }
      tensor.data = std::span<const std::byte>(bytes_).subspan(data_begin + offsets[0], expected);
      tensors_.emplace(name, std::move(tensor));
    } catch (const json::exception&) {
      throw InputError::of("{}: header entry is malformed, expected dtype, shape and data_offsets", where);
    }
  }
  std::uint64_t covered = 0;
  for (const auto& [begin, end] : ends) {
    if (begin != covered) {
      throw InputError::of("{}: a tensor begins at data byte {}, expected {}, where the one before ends", source_,
                           begin, covered);
    }
    covered = end;
  }
  if (covered != data_size) {
    throw InputError::of("{}: {} data bytes, tensors account for {}", source_, data_size, covered);
  }
}

const StoredTensor& SafetensorsFile::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw InputError::of("{}: no tensor \"{}\", it has {}", source_, name, keys_of(tensors_));
  }
  return found->second;
}

namespace {

/// Length and header, as they stand before the data.
std::string head_of(const std::map<std::string, StoredTensor>& tensors,
                    const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", std::string(type_name(tensor.dtype))},
                    {"shape", tensor.shape},
                    {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t header_size = text.size();
  return std::string(reinterpret_cast<const char*>(&header_size), sizeof header_size) + text;
}

}  // namespace

std::vector<std::byte> to_safetensors(const std::map<std::string, StoredTensor>& tensors,
                                      const std::map<std::string, std::string>& metadata) {
  const std::string head = head_of(tensors, metadata);
  std::size_t size = head.size();
  for (const auto& [name, tensor] : tensors) {
    size += tensor.data.size();
  }
  std::vector<std::byte> bytes;
  bytes.reserve(size);
  const auto append = [&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); };
  append(std::as_bytes(std::span(head)));
  for (const auto& [name, tensor] : tensors) {
    append(tensor.data);
  }
  return bytes;
}

void write_safetensors(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_durably(file, to_safetensors(tensors, metadata));
}

}  // namespace motley
