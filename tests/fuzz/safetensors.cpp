// Safetensors: read, written and read again.
#include <algorithm>
#include <vector>

#include "fuzz.h"
#include "motley/record/safetensors.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace motley;
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  fuzz::accepts([&] {
    const SafetensorsFile file(std::vector<std::byte>(bytes, bytes + size), "input");
    const SafetensorsFile again(to_safetensors(file.tensors(), file.metadata()), "again");
    MOTLEY_CHECK(again.tensors().size() == file.tensors().size() && again.metadata() == file.metadata(),
                 "lost tensors");
    for (const auto& [name, tensor] : file.tensors()) {
      const StoredTensor& other = again.at(name);
      MOTLEY_CHECK(other.dtype == tensor.dtype && other.shape == tensor.shape, "another tensor \"{}\"", name);
      MOTLEY_CHECK(std::equal(tensor.data.begin(), tensor.data.end(), other.data.begin(), other.data.end()),
                   "other bytes in \"{}\"", name);
    }
  });
  return 0;
}
