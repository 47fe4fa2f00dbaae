#include "fakes/script.h"

#include <cstdlib>
#include <sstream>

namespace motley::fakes {
namespace {

int rank_of_this_process() {
  const char* const rank = std::getenv("OMPI_COMM_WORLD_RANK");
  return rank == nullptr ? 0 : std::stoi(rank);
}

}  // namespace

State& State::get() {
  static State* const state = new State;  // streams' threads outlive static objects
  return *state;
}

State::State() {
  if (const char* const script = std::getenv("MOTLEY_FAKE_SCRIPT")) play(script);
}

void State::play(const std::string& script) {
  const std::lock_guard lock(mutex_);
  lines_.clear();
  broken_.clear();
  operations_.clear();
  misuse_.clear();
  std::stringstream text(script);
  std::string word;
  while (std::getline(text, word, ';')) {
    Line line;
    if (word.rfind("device", 0) == 0 && word.find(':') != std::string::npos) {
      line.device = std::stoi(word.substr(6));
      word = word.substr(word.find(':') + 1);
    } else if (word.rfind("rank", 0) == 0) {
      if (std::stoi(word.substr(4)) != rank_of_this_process()) continue;
      word = word.substr(word.find(':') + 1);
    }
    if (const auto equals = word.find('='); equals != std::string::npos) {
      line.value = std::stod(word.substr(equals + 1));
      word.resize(equals);
    }
    if (const auto at = word.find('@'); at != std::string::npos) {
      line.at = std::stoi(word.substr(at + 1));
      word.resize(at);
    }
    line.name = word;
    lines_.push_back(line);
  }
}

std::optional<double> State::due(const std::string& name, int device) {
  const std::lock_guard lock(mutex_);
  std::optional<double> found;
  for (Line& line : lines_) {
    if (line.name != name || (line.device >= 0 && line.device != device)) continue;
    const int number = line.seen[device]++;
    if (!line.at || *line.at == number) found = line.value;
  }
  return found;
}

std::optional<double> State::value(const std::string& name, int device) const {
  const std::lock_guard lock(mutex_);
  for (const Line& line : lines_) {
    if (line.name == name && (line.device < 0 || line.device == device)) return line.value;
  }
  return std::nullopt;
}

void State::break_device(int device, int error) {
  const std::lock_guard lock(mutex_);
  broken_[device] = error;
}

int State::broken(int device) const {
  const std::lock_guard lock(mutex_);
  const auto found = broken_.find(device);
  return found == broken_.end() ? 0 : found->second;
}

void State::log(const Operation& operation) {
  const std::lock_guard lock(mutex_);
  operations_.push_back(operation);
}

void State::blame(const std::string& what) {
  const std::lock_guard lock(mutex_);
  misuse_.push_back(what);
}

std::vector<Operation> State::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

Counts State::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::vector<std::string> State::misuse() const {
  const std::lock_guard lock(mutex_);
  return misuse_;
}

}  // namespace motley::fakes
