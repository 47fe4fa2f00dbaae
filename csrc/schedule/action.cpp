#include "motley/schedule/action.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

#include "motley/base/error.h"

namespace motley {
namespace {

struct Word {
  Op op;
  std::string_view text;
  bool has_micro_batch;
};

// Longer words before those they begin with.
constexpr std::array<Word, 14> kWords{{{Op::SendForward, "SEND_F", true},
                                       {Op::ReceiveForward, "RECV_F", true},
                                       {Op::SendBackward, "SEND_B", true},
                                       {Op::ReceiveBackward, "RECV_B", true},
                                       {Op::ReduceGradient, "REDUCE_GRAD", false},
                                       {Op::Recompute, "RECOMPUTE", true},
                                       {Op::Reshard, "RESHARD", false},
                                       {Op::Unshard, "UNSHARD", false},
                                       {Op::Update, "UPDATE", false},
                                       {Op::Norm, "NORM", false},
                                       {Op::Forward, "F", true},
                                       {Op::BackwardInput, "I", true},
                                       {Op::BackwardWeight, "W", true},
                                       {Op::Backward, "B", true}}};

constexpr std::string_view kOverlap = "OVERLAP_F_B";

[[noreturn]] void fail(std::string_view text, std::string_view expected) {
  throw InputError::of("action \"{}\": expected {}", text, expected);
}

constexpr std::int64_t kMost = 1'000'000;  // stages, micro-batches, ranks and samples that make sense

/// Takes a number from 0 to kMost off the front of `rest`.
template <typename Integer>
Integer take_number(std::string_view& rest, std::string_view whole, std::string_view expected) {
  Integer value{};
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc() || value < 0 || value > kMost || rest.empty() || rest.front() == '-') {
    fail(whole, expected);
  }
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  return value;
}

void take(std::string_view& rest, char symbol, std::string_view whole, std::string_view expected) {
  if (rest.empty() || rest.front() != symbol) {
    fail(whole, expected);
  }
  rest.remove_prefix(1);
}

}  // namespace

bool is_compute(Op op) {
  return op == Op::Forward || op == Op::BackwardInput || op == Op::BackwardWeight || op == Op::Backward ||
         op == Op::Recompute || op == Op::OverlapForwardBackward;
}

bool is_send(Op op) {
  return op == Op::SendForward || op == Op::SendBackward;
}

bool is_receive(Op op) {
  return op == Op::ReceiveForward || op == Op::ReceiveBackward;
}

Action send_of(const Action& receive, int rank) {
  const bool forward = receive.op == Op::ReceiveForward;
  Action send = receive;
  send.op = forward ? Op::SendForward : Op::SendBackward;
  send.stage += forward ? -1 : 1;
  send.peer = receive.peer >= 0 ? rank : -1;
  return send;
}

std::string to_string(const Action& action) {
  if (action.op == Op::Idle) {
    return "";
  }
  if (action.op == Op::OverlapForwardBackward) {
    std::string text = "(";
    for (const Action& part : action.parts) {
      text += (text.size() > 1 ? ";" : "") + to_string(part);
    }
    return text + ")" + std::string(kOverlap);
  }
  for (const Word& word : kWords) {
    if (word.op != action.op) {
      continue;
    }
    std::string text = fmt::format("{}{}", action.stage, word.text);
    if (action.micro_batch >= 0) {
      text += std::to_string(action.micro_batch);
    }
    if (action.sample_end > action.sample_begin) {
      text += fmt::format("[{}:{}]", action.sample_begin, action.sample_end);
    }
    if (action.peer >= 0) {
      text += fmt::format("@{}", action.peer);
    }
    return text;
  }
  MOTLEY_CHECK(false, "action without a word");
  return {};
}

Action parse_action(std::string_view text) {
  if (text.empty()) {
    return {};
  }
  Action action;
  if (text.front() == '(') {
    const std::size_t close = text.find(')');
    if (close == std::string_view::npos || text.substr(close + 1) != kOverlap) {
      fail(text, "(F;B)OVERLAP_F_B");
    }
    action.op = Op::OverlapForwardBackward;
    std::string_view inside = text.substr(1, close - 1);
    while (true) {
      const std::size_t semicolon = inside.find(';');
      action.parts.push_back(parse_action(inside.substr(0, semicolon)));
      if (!is_compute(action.parts.back().op) || !action.parts.back().parts.empty()) {
        fail(text, "F, I, W or B between the parentheses");
      }
      if (semicolon == std::string_view::npos) {
        break;
      }
      inside.remove_prefix(semicolon + 1);
    }
    if (action.parts.size() != 2) {
      fail(text, "two actions between the parentheses");
    }
    action.stage = action.parts.front().stage;
    action.micro_batch = action.parts.front().micro_batch;
    return action;
  }
  std::string_view rest = text;
  action.stage = take_number<int>(rest, text, "a stage first, as in 0F3");
  const Word* found = nullptr;
  for (const Word& word : kWords) {
    if (rest.starts_with(word.text)) {
      found = &word;
      break;
    }
  }
  if (found == nullptr) {
    fail(text, "F, I, W, B, SEND_F, RECV_F, SEND_B, RECV_B, RECOMPUTE, REDUCE_GRAD, NORM, UPDATE, UNSHARD or RESHARD");
  }
  action.op = found->op;
  rest.remove_prefix(found->text.size());
  if (found->has_micro_batch) {
    action.micro_batch = take_number<int>(rest, text, "a micro-batch last, as in 0F3");
  }
  if (!rest.empty() && rest.front() == '[' && (is_send(action.op) || is_receive(action.op))) {
    constexpr std::string_view kInterval = "samples as [begin:end] with begin < end";
    take(rest, '[', text, kInterval);
    action.sample_begin = take_number<std::int64_t>(rest, text, kInterval);
    take(rest, ':', text, kInterval);
    action.sample_end = take_number<std::int64_t>(rest, text, kInterval);
    take(rest, ']', text, kInterval);
    if (action.sample_end <= action.sample_begin) {
      fail(text, kInterval);
    }
  }
  if (!rest.empty() && rest.front() == '@' && (is_send(action.op) || is_receive(action.op))) {
    rest.remove_prefix(1);
    action.peer = take_number<int>(rest, text, "a rank after @");
  }
  if (!rest.empty()) {
    fail(text, fmt::format("nothing after \"{}\"", text.substr(0, text.size() - rest.size())));
  }
  return action;
}

}  // namespace motley
