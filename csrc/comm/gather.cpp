#include "motley/comm/gather.h"

#include <algorithm>

#include "motley/comm/abort_on_throw.h"

namespace motley {

std::vector<double> gather(Communicator& communicator, const std::vector<double>& mine, std::string_view label) {
  std::vector<double> all(mine.size() * static_cast<std::size_t>(communicator.size()));
  abort_on_throw(communicator, [&] {
    communicator.world().all_gather(std::as_bytes(std::span(mine)), std::as_writable_bytes(std::span(all)), label);
  });
  return all;
}

std::vector<std::string> gather(Communicator& communicator, const std::string& mine, std::string_view label) {
  const std::vector<double> lengths = gather(communicator, std::vector{static_cast<double>(mine.size())}, label);
  const auto longest = static_cast<std::size_t>(*std::max_element(lengths.begin(), lengths.end()));
  if (longest == 0) {
    return std::vector<std::string>(lengths.size());
  }
  std::string padded = mine;
  padded.resize(longest);
  std::string all(longest * lengths.size(), '\0');
  abort_on_throw(communicator, [&] {
    communicator.world().all_gather(std::as_bytes(std::span(padded)), std::as_writable_bytes(std::span(all)), label);
  });
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < lengths.size(); ++rank) {
    texts.push_back(all.substr(rank * longest, static_cast<std::size_t>(lengths[rank])));
  }
  return texts;
}

}  // namespace motley
