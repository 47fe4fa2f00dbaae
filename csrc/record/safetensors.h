#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "motley/base/tensor_spec.h"

namespace motley {

/// A tensor of a safetensors file: bytes, not an array type, so that readers need no LibTorch.
struct StoredTensor {
  DType dtype = DType::Float32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

/// A whole file. Throws InputError naming it.
[[nodiscard]] std::vector<std::byte> read_bytes(const std::filesystem::path& file);

/// A safetensors file (https://github.com/huggingface/safetensors, format section of its README) held in memory. Owns
/// its bytes; the spans live as long as it does. Move-only.
class SafetensorsFile {
 public:
  /// Throws InputError naming the file and what is wrong: too short, header longer than the file, bad JSON, unknown
  /// type, offsets that overlap, leave the file or do not match shape and type.
  explicit SafetensorsFile(const std::filesystem::path& file);
  /// Of a file's bytes; `source` names them in errors.
  SafetensorsFile(std::vector<std::byte> bytes, std::string source);

  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;
  ~SafetensorsFile() = default;

  /// Throws InputError naming the file and the tensors it has.
  [[nodiscard]] const StoredTensor& at(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  [[nodiscard]] const std::string& source() const { return source_; }

 private:
  std::string source_;
  std::vector<std::byte> bytes_;
  std::map<std::string, StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// The file's bytes: tensors in name order, data aligned to 8 bytes.
[[nodiscard]] std::vector<std::byte> to_safetensors(const std::map<std::string, StoredTensor>& tensors,
                                                    const std::map<std::string, std::string>& metadata = {});

/// Writes in name order, data aligned to 8 bytes, beside the target and renamed onto it. Throws Fault if it cannot.
void write_safetensors(const std::filesystem::path& file, const std::map<std::string, StoredTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace motley
