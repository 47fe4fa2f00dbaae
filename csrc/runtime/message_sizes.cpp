#include "motley/runtime/message_sizes.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <string>

#include "motley/base/error.h"
#include "motley/comm/gather.h"

namespace motley {
namespace {

using Messages = std::vector<MessageSizes::Message>;

/// "sends 1: 2*4096+16 3*64": equal neighbours are counted, since most messages are alike.
std::string text_of(const std::string& way, const std::map<int, Messages>& by_peer) {
  std::string text;
  for (const auto& [peer, messages] : by_peer) {
    text += fmt::format("{} {}", way, peer);
    for (std::size_t i = 0; i < messages.size();) {
      std::size_t end = i;
      while (end < messages.size() && messages[end] == messages[i]) ++end;
      text += fmt::format(" {}*{}", end - i, fmt::join(messages[i], "+"));
      i = end;
    }
    text += '\n';
  }
  return text;
}

/// The words of one line, each repeated as often as it says.
std::vector<std::string> messages_of(std::stringstream words) {
  std::vector<std::string> messages;
  std::string word;
  while (words >> word) {
    const std::size_t star = word.find('*');
    messages.insert(messages.end(), std::stoul(word.substr(0, star)), word.substr(star + 1));
  }
  return messages;
}

}  // namespace

void expect_same_sizes(Communicator& communicator, const MessageSizes& mine) {
  const std::vector<std::string> texts =
      gather(communicator, text_of("to", mine.sent) + text_of("from", mine.received), "message sizes");
  std::map<std::pair<int, int>, std::map<std::string, std::string>> edges;  // [from, to][way], one line each
  for (int rank = 0; rank < static_cast<int>(texts.size()); ++rank) {
    std::stringstream lines(texts[static_cast<std::size_t>(rank)]);
    std::string line;
    while (std::getline(lines, line)) {
      std::stringstream words(line);
      std::string way;
      int peer = 0;
      words >> way >> peer;
      std::string rest;
      std::getline(words, rest);
      edges[way == "to" ? std::pair(rank, peer) : std::pair(peer, rank)][way] = rest;
    }
  }
  for (auto& [edge, ways] : edges) {
    if (ways["to"] == ways["from"]) continue;
    const std::vector<std::string> sent = messages_of(std::stringstream(ways["to"]));
    const std::vector<std::string> received = messages_of(std::stringstream(ways["from"]));
    const auto differ = std::ranges::mismatch(sent, received);
    const auto number = differ.in1 - sent.begin();
    throw InputError::of(
        "edge from rank {} to rank {}: message {} of an iteration: rank {} sends {} bytes, rank {} expects {}; do all "
        "ranks have the same configuration and plan?",
        edge.first, edge.second, number, edge.first, differ.in1 == sent.end() ? "no" : *differ.in1, edge.second,
        differ.in2 == received.end() ? "none" : *differ.in2);
  }
}

}  // namespace motley
