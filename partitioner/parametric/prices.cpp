#include "motley/partitioner/parametric/prices.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "motley/partitioner/parametric/assignment.h"
#include "motley/partitioner/parametric/share.h"
#include "motley/partitioner/space.h"

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLikeLayers = 0.25;  // relative difference of work up to which layers count as alike
constexpr int kValueSteps = 64;       // of a stage's value, where layers are not alike
constexpr int kMostRounds = 3;
constexpr std::size_t kMostLevels = 4;  // of stages longer than the period
constexpr double kNear = 1.03;          // how far above a bound its better one may be
constexpr int kMostPrices = 6;          // tries of one

}  // namespace

PriceBound::PriceBound(const Instance& instance, double after, int most_stages, bool any_depth)
    : instance_(instance), after_(after), most_stages_(most_stages), any_depth_(any_depth) {
  value_layers();
  join_devices();
}

void PriceBound::value_layers() {
  const int layers = instance_.layers;
  std::vector<double> share(layers, 0.0);  // of a layer in the work, mean over types
  for (const std::vector<double>& work : instance_.work) {
    for (int l = 0; l < layers; ++l) share[l] += (work[l + 1] - work[l]) / work[layers];
  }
  std::vector<double> sorted = share;
  std::nth_element(sorted.begin(), sorted.begin() + layers / 2, sorted.end());
  const double median = sorted[layers / 2];
  values_.assign(1, 0.0);
  step_ = 1.0;
  for (const double of : share) {
    const double value = of / median;
    const bool like = std::abs(value - 1.0) < kLikeLayers;
    const bool nothing = value < kLikeLayers;
    if (!like && !nothing) step_ = 0.0;
    layer_values_.push_back(like ? 1.0 : nothing ? 0.0 : value);
  }
  // A few odd layers may count as one; a model of many kinds of layers is valued by work.
  const auto odd = std::count_if(layer_values_.begin(), layer_values_.end(),
                                 [](double value) { return value != 1.0 && value != 0.0; });
  if (odd * 50 <= layers) {
    step_ = 1.0;
    for (double& value : layer_values_) value = value > 0.0 ? 1.0 : 0.0;
  } else {
    for (int l = 0; l < layers; ++l) layer_values_[l] = share[l] / median;
  }
  for (const double value : layer_values_) values_.push_back(values_.back() + value);
}

void PriceBound::join_devices() {
  // Prim's algorithm: the links of a spanning tree whose slowest message is fastest.
  const int devices = static_cast<int>(instance_.devices);
  int forward_cut = 1;
  int backward_cut = 1;
  for (int cut = 1; cut < instance_.layers; ++cut) {
    if (instance_.forward_amounts[cut] < instance_.forward_amounts[forward_cut]) forward_cut = cut;
    if (instance_.backward_amounts[cut] < instance_.backward_amounts[backward_cut]) backward_cut = cut;
  }
  const auto pair_cost = [&](int from, int to) {
    return std::pair{instance_.send_forward(from, to, forward_cut), instance_.send_backward(to, from, backward_cut)};
  };
  std::vector<double> nearest(devices, kInfinity);
  std::vector<int> by(devices, 0);
  std::vector<bool> joined(devices, false);
  int latest = 0;
  for (int n = 1; n < devices; ++n) {
    joined[latest] = true;
    int next = -1;
    for (int d = 0; d < devices; ++d) {
      if (joined[d]) continue;
      const auto [out_f, out_b] = pair_cost(latest, d);
      const auto [in_f, in_b] = pair_cost(d, latest);
      const double message = std::min(std::max(out_f, out_b), std::max(in_f, in_b));
      if (message < nearest[d]) {
        nearest[d] = message;
        by[d] = latest;
      }
      if (next < 0 || nearest[d] < nearest[next]) next = d;
    }
    joins_.push_back({nearest[next], by[next], next});
    latest = next;
  }
  // Cheapest messages out of a device inside its host and beyond, as upstream or downstream end.
  const std::size_t hosts = instance_.topology.hosts.size();
  inside_.assign(hosts, kInfinity);
  between_.assign(hosts * hosts, kInfinity);
  for (int from = 0; from < devices; ++from) {
    for (int to = 0; to < devices; ++to) {
      if (from == to) continue;
      const auto [f, b] = pair_cost(from, to);
      const std::size_t a = instance_.topology.host[from];
      const std::size_t c = instance_.topology.host[to];
      double& least = a == c ? inside_[a] : between_[a * hosts + c];
      least = std::min(least, f + b);
    }
  }
}

std::vector<PriceBound::Part> PriceBound::parts(double longest_message) const {
  std::vector<int> part_of(instance_.devices);
  std::iota(part_of.begin(), part_of.end(), 0);
  const auto root = [&](int d) {
    while (part_of[d] != d) d = part_of[d] = part_of[part_of[d]];
    return d;
  };
  for (const Join& join : joins_) {
    if (join.message <= longest_message) part_of[root(join.a)] = root(join.b);
  }
  std::map<int, std::map<std::tuple<int, int, double>, int>> counts;
  for (int d = 0; d < static_cast<int>(instance_.devices); ++d) {
    ++counts[root(d)][{instance_.topology.host[d], instance_.topology.type[d], instance_.topology.memory[d]}];
  }
  const std::size_t hosts = instance_.topology.hosts.size();
  std::vector<Part> all;
  for (const auto& [_, groups] : counts) {
    Part part;
    std::map<int, int> devices_of_host;
    for (const auto& [key, count] : groups) {
      const auto [host, type, memory] = key;
      part.groups.push_back({type, host, memory, count});
      devices_of_host[host] += count;
    }
    for (const Group& group : part.groups) {
      double outside = kInfinity;
      for (const auto& [other, _count] : devices_of_host) {
        if (other != group.host)
          outside = std::min(outside, between_[static_cast<std::size_t>(group.host) * hosts + other]);
      }
      const double inside = inside_[group.host];
      // n stages of a host of N: at least n - 1 links inside and one out, so n (inside + (outside - inside) / N).
      double link = std::min(inside, outside);
      if (outside < kInfinity && inside < outside) link += (outside - inside) / devices_of_host[group.host];
      if (link == kInfinity) link = 0.0;
      part.link.push_back(link);
      const double longest = std::max(inside < kInfinity ? inside : 0.0, outside < kInfinity ? outside : 0.0);
      part.slack = std::max(part.slack, longest);
    }
    all.push_back(std::move(part));
  }
  return all;
}

void PriceBound::list_items(double most_work) {
  const Instance& in = instance_;
  items_.assign(in.work.size(), {});
  for (std::size_t t = 0; t < in.work.size(); ++t) {
    double most_value = 0.0;
    for (int first = 0, end = 0; first < in.layers; ++first) {
      while (end < in.layers && in.work_of(static_cast<int>(t), first, end + 1) <= most_work) ++end;
      if (end > first) most_value = std::max(most_value, values_[end] - values_[first]);
      end = std::max(end, first + 1);
    }
    const double step = step_ > 0.0 ? step_ : std::max(most_value / kValueSteps, 1e-9);
    std::vector<Item>& items = items_[t];
    for (int first = 0; first < in.layers; ++first) {
      for (int end = first + 1; end <= in.layers; ++end) {
        const double work = in.work_of(static_cast<int>(t), first, end);
        if (work > most_work) break;
        const double value = values_[end] - values_[first];
        const auto index = static_cast<std::size_t>(std::ceil(value / step - 1e-9));
        if (items.size() <= index) items.resize(index + 1, Item{0.0, kInfinity, 0.0, 0.0, kInfinity, 0.0, kInfinity});
        Item& item = items[index];
        item.value = std::max(item.value, value);
        item.work = std::min(item.work, work);
        item.most_work = std::max(item.most_work, work);
        item.forward = std::max(item.forward, in.forward_of(static_cast<int>(t), first, end));
        item.fixed = std::min(item.fixed, in.fixed_memory(first, end));
        item.posted = std::max(item.posted, in.posted_in[first]);
        item.saved = std::min(item.saved, in.saved_of(first, end));
      }
    }
    std::erase_if(items, [](const Item& item) { return item.work == kInfinity || item.value <= 0.0; });
  }
}

int PriceBound::places(const Part& part) const {
  int devices = 0;
  for (const Group& group : part.groups) devices += group.count;
  return std::min({devices, most_stages_, instance_.layers});
}

double PriceBound::deepest(const Group& group, const Item& item, double reserve) const {
  return instance_.most_in_flight(group.memory - reserve - item.fixed, item.saved, item.posted);
}

/// How many forwards must be done before the first backward.
double PriceBound::least_depth(const Item& item, const Case& of) const {
  const double excess = of.round_trip + (instance_.micro_batches - 1.0) * item.work - (of.time - after_);
  return 1.0 + std::max(0.0, std::ceil(excess / item.forward - 1e-9));
}

double PriceBound::value(const Part& part, std::size_t group, const Item& item, const Case& of) const {
  return of.theta * item.value - (of.less_work ? item.work + part.link[group] : 0.0);
}

PriceBound::Worths PriceBound::worths(const Part& part, const Case& of) const {
  const double m = instance_.micro_batches;
  const int count = places(part);
  Worths worths;
  worths.anywhere.assign(part.groups.size(), 0.0);
  worths.at.assign(part.groups.size() * static_cast<std::size_t>(count), 0.0);
  double longest_depth = 0.0;
  for (const Group& group : part.groups) {
    for (const Item& item : items_[group.type]) {
      if (item.most_work <= of.above || item.work > of.up_to) continue;
      const double depth = deepest(group, item);
      if (least_depth(item, of) <= depth) longest_depth = std::max(longest_depth, depth);
    }
  }
  worths.longest_depth = static_cast<int>(std::min<double>(longest_depth, count));
  worths.seconds = of.time - after_ - of.round_trip - (m - worths.longest_depth) * of.above;
  for (std::size_t g = 0; g < part.groups.size(); ++g) {
    const Group& group = part.groups[g];
    double* const row = worths.at.data() + g * static_cast<std::size_t>(count);
    for (const Item& item : items_[group.type]) {
      if (item.work > of.up_to) continue;
      const double depth = deepest(group, item, of.reserve) / of.stretch;
      const double least = least_depth(item, of);
      if (depth < 1.0 || least > depth) continue;
      const double ahead = value(part, g, item, of);
      const double behind = ahead - of.second_price * std::min(item.work, of.above);
      if (depth > count || depth >= m) worths.anywhere[g] = std::max(worths.anywhere[g], ahead);
      const int farthest = static_cast<int>(std::min<double>(depth, count));
      for (int j = static_cast<int>(least); j <= farthest; ++j) {
        row[j - 1] = std::max(row[j - 1], j < worths.longest_depth ? behind : ahead);
      }
    }
    for (int j = 0; j < count; ++j) row[j] = std::max(0.0, row[j] - worths.anywhere[g]);
  }
  return worths;
}

/// Of D by theta and by second_price, from the stages that the assignment chose.
void PriceBound::add_slopes(const Part& part, const Case& of, const Worths& worths, Priced& priced) const {
  std::vector<int> left;
  for (const Group& group : part.groups) left.push_back(group.count);
  const auto best = [&](std::size_t g, int j, const auto& add) {  // j of 0: anywhere
    const Item* chosen = nullptr;
    double most = 0.0;
    for (const Item& item : items_[part.groups[g].type]) {
      const double depth = deepest(part.groups[g], item);
      if (item.work > of.up_to || depth < 1.0 || least_depth(item, of) > depth) continue;
      if (j == 0 ? depth <= places(part) && depth < instance_.micro_batches : j < least_depth(item, of) || j > depth)
        continue;
      const double of_item =
          value(part, g, item, of) -
          (j > 0 && j < worths.longest_depth ? of.second_price * std::min(item.work, of.above) : 0.0);
      if (of_item > most) {
        most = of_item;
        chosen = &item;
      }
    }
    if (chosen != nullptr) add(*chosen);
  };
  priced.slope_second = worths.seconds;
  for (std::size_t place = 0; place < priced.group_of_place.size(); ++place) {
    const int group = priced.group_of_place[place];
    if (group < 0) continue;
    --left[group];
    const int j = static_cast<int>(place) + 1;
    best(static_cast<std::size_t>(group), j, [&](const Item& item) {
      priced.slope_layers += item.value;
      if (j < worths.longest_depth) priced.slope_second -= std::min(item.work, of.above);
    });
  }
  for (std::size_t g = 0; g < left.size(); ++g) {
    best(g, 0, [&](const Item& item) { priced.slope_layers += left[g] * item.value; });
  }
}

PriceBound::Priced PriceBound::price(const Part& part, const Case& of) const {
  const Worths worth = worths(part, of);
  const auto count = static_cast<std::size_t>(places(part));
  Priced priced;
  priced.worth = of.second_price * worth.seconds;
  std::vector<int> capacity;
  std::vector<int> wanted;  // groups that are worth something somewhere
  for (std::size_t g = 0; g < part.groups.size(); ++g) {
    priced.worth += part.groups[g].count * worth.anywhere[g];
    const auto row = worth.at.begin() + static_cast<std::ptrdiff_t>(g * count);
    if (std::all_of(row, row + static_cast<std::ptrdiff_t>(count), [](double at) { return at <= 0.0; })) continue;
    capacity.push_back(part.groups[g].count);
    wanted.push_back(static_cast<int>(g));
  }
  std::vector<double> turned(count * wanted.size());
  for (std::size_t c = 0; c < wanted.size(); ++c) {
    const double* const row = worth.at.data() + static_cast<std::size_t>(wanted[c]) * count;
    for (std::size_t j = 0; j < count; ++j) turned[j * wanted.size() + c] = row[j];
  }
  const Assignment assignment = assign(static_cast<int>(count), capacity, turned);
  priced.worth += assignment.worth;
  priced.table = {of.above, of.up_to, of.theta, of.second_price, assignment.place};
  for (double& price : priced.table.depths) price = std::max(price, 0.0);
  while (!priced.table.depths.empty() && priced.table.depths.back() == 0.0) priced.table.depths.pop_back();
  for (const int c : assignment.class_of_place) priced.group_of_place.push_back(c < 0 ? c : wanted[c]);
  add_slopes(part, of, worth, priced);
  return priced;
}

bool PriceBound::can_hold(const Part& part, double time) const {
  Case any;
  any.time = time;
  any.up_to = (time - after_) / instance_.micro_batches;
  const Worths worth = worths(part, any);
  double sum = 0.0;
  const auto count = static_cast<std::size_t>(places(part));
  for (std::size_t g = 0; g < part.groups.size(); ++g) {
    const auto row = worth.at.begin() + static_cast<std::ptrdiff_t>(g * count);
    sum +=
        part.groups[g].count * (worth.anywhere[g] + *std::max_element(row, row + static_cast<std::ptrdiff_t>(count)));
  }
  return sum >= total_value();
}

/// The greatest of theta G - D(theta), each a lower bound of the round trip, to within a thousandth. Concave in theta:
/// tangents from both sides meet above the greatest.
std::pair<double, BoundProof::Table> PriceBound::least_round_trip(const Part& part, double time) const {
  struct Tangent {
    double theta, value, slope;
  };
  BoundProof::Table best;
  double most = -kInfinity;
  const auto tangent = [&](double theta) {
    Case any;
    any.time = time;
    any.round_trip = round_trip_;
    any.up_to = (time - after_) / instance_.micro_batches;
    any.theta = theta;
    any.less_work = true;
    Priced priced = price(part, any);
    const double value = theta * total_value() - priced.worth - part.slack;
    if (value > most) {
      most = value;
      best = std::move(priced.table);
    }
    return Tangent{theta, value, total_value() - priced.slope_layers};
  };
  // Seconds a layer of the slowest stage: at more than this every device takes what it can.
  double high = 0.0;
  for (std::size_t g = 0; g < part.groups.size(); ++g) {
    for (const Item& item : items_[part.groups[g].type]) high = std::max(high, (item.work + part.link[g]) / item.value);
  }
  Tangent rising{0.0, -part.slack, total_value()};
  Tangent falling = tangent(high);
  for (int i = 0; i < kMostPrices && falling.slope < 0.0 && rising.slope > 0.0; ++i) {
    const double theta = (falling.value - falling.slope * falling.theta - rising.value + rising.slope * rising.theta) /
                         (rising.slope - falling.slope);
    if (rising.value + rising.slope * (theta - rising.theta) < most + 1e-3 * std::abs(most)) break;
    const Tangent middle = tangent(theta);
    (middle.slope > 0.0 ? rising : falling) = middle;
  }
  return {most, best};
}

BoundProof PriceBound::round_trips(double time) {
  BoundProof proof;
  proof.micro_batch_size = instance_.size;
  proof.layer_values = layer_values_;
  round_trip_ = 0.0;
  for (int round = 0; round < kMostRounds; ++round) {
    BoundProof::Round made;
    made.round_trip = true;
    double least = kInfinity;
    for (const Part& part : parts((time - after_) / instance_.micro_batches)) {
      if (places(part) < 2 || !can_hold(part, time)) continue;
      auto [value, table] = least_round_trip(part, time);
      least = std::min(least, value);
      made.tables.push_back(std::move(table));
    }
    if (least <= round_trip_ * (1.0 + 1e-3)) break;
    proof.rounds.push_back(std::move(made));
    if (least == kInfinity) break;
    round_trip_ = least;
  }
  return proof;
}

/// Stages that take longer than the rest of the iteration leaves for a micro-batch, in a few levels.
std::vector<PriceBound::Case> PriceBound::cases(const Part& part, double time) const {
  const double m = instance_.micro_batches;
  const double most = (time - after_) / m;
  const double period = (time - after_ - round_trip_) / (m - 1.0);
  std::vector<double> works;
  for (const Group& group : part.groups) {
    for (const Item& item : items_[group.type]) {
      if (item.work > period && item.work <= most) works.push_back(item.work);
    }
  }
  std::sort(works.begin(), works.end());
  works.erase(std::unique(works.begin(), works.end()), works.end());
  std::vector<double> levels;
  const std::size_t stride = (works.size() + kMostLevels - 1) / kMostLevels;
  for (std::size_t i = 0; i < works.size(); i += stride) levels.push_back(works[i] * (1.0 - 1e-9));
  std::vector<Case> all;
  Case of;
  of.time = time;
  of.round_trip = round_trip_;
  for (const double level : levels) {
    of.up_to = level;
    all.push_back(of);
    of.above = level;
  }
  of.up_to = most;
  all.push_back(of);
  return all;
}

std::optional<BoundProof::Table> PriceBound::refute(const Part& part, Case of) const {
  const double enough = total_value() * (1.0 - 1e-9);
  Priced low = price(part, of);
  if (low.worth < enough) return std::move(low.table);
  if (of.above == 0.0 || low.slope_second >= 0.0) return std::nullopt;
  // D is convex in the price of a second: tangents from both sides meet below the least.
  double low_price = 0.0;
  double high_price = 0.0;
  Priced high;
  for (int i = 0; i < kMostPrices; ++i) {
    of.second_price = i == 0
                          ? 2.0 / of.above
                          : (high.worth - high.slope_second * high_price - low.worth + low.slope_second * low_price) /
                                (low.slope_second - high.slope_second);
    if (i > 0 && low.worth + low.slope_second * (of.second_price - low_price) >= enough) return std::nullopt;
    Priced middle = price(part, of);
    if (middle.worth < enough) return std::move(middle.table);
    if (middle.slope_second < 0.0) {
      if (i == 0) return std::nullopt;
      low = std::move(middle);
      low_price = of.second_price;
    } else {
      high = std::move(middle);
      high_price = of.second_price;
    }
  }
  return std::nullopt;
}

std::optional<BoundProof::Round> PriceBound::refute(double time) const {
  BoundProof::Round round;
  for (const Part& part : parts((time - after_) / instance_.micro_batches)) {
    if (places(part) < 2 || !can_hold(part, time)) continue;
    const std::vector<Case> all = cases(part, time);
    std::vector<std::optional<BoundProof::Table>> tables(all.size());
    share(all.size(), [&](std::size_t i) { tables[i] = refute(part, all[i]); });
    for (std::optional<BoundProof::Table>& table : tables) {
      if (!table) return std::nullopt;
      round.tables.push_back(std::move(*table));
    }
  }
  return round;
}

/// Bisects between what is proven and `most`; a proof of more, or of the same from longer round trips, replaces it.
void PriceBound::narrow(double most, double tolerance, Proven& proven) {
  BoundProof proof = round_trips(most);
  double low = proven.time;
  double high = most;
  std::optional<BoundProof::Round> last = refute(most);
  if (last) low = most;
  while (high - low > tolerance * high) {
    const double middle = 0.5 * (low + high);
    if (std::optional<BoundProof::Round> round = refute(middle)) {
      low = middle;
      last = std::move(round);
    } else {
      high = middle;
    }
  }
  if (!last) return;
  proof.rounds.push_back(std::move(*last));
  proven = {low, std::move(proof)};
}

PriceBound::Proven PriceBound::bound(double most, double tolerance) {
  list_items((most - after_) / instance_.micro_batches);
  Proven proven;
  narrow(most, kNear - 1.0, proven);
  // Round trips are longer where less time is allowed.
  double near = kNear - 1.0;
  while (near > tolerance && proven.time > 0.0) {
    const double next = near / 4.0;
    if (proven.time * (1.0 + near) < most) narrow(proven.time * (1.0 + near), std::max(next, tolerance), proven);
    near = next;
  }
  return proven;
}

std::vector<double> PriceBound::depths_of_blocks(double time, double stretch) const {
  const Topology& topology = instance_.topology;
  const auto devices = static_cast<double>(instance_.devices);
  std::map<std::tuple<int, int, double>, std::vector<double>> depths_of;  // by host, type and memory, the least first
  for (const Part& part : parts((time - after_) / instance_.micro_batches)) {
    if (places(part) < 2 || !can_hold(part, time)) continue;
    Case of = cases(part, time).back();
    of.stretch = stretch;
    of.reserve = instance_.excess;
    const Priced priced = price(part, of);
    for (std::size_t place = 0; place < priced.group_of_place.size(); ++place) {
      if (priced.group_of_place[place] < 0) continue;
      const Group& group = part.groups[priced.group_of_place[place]];
      double most = 0.0;
      double depth = 0.0;
      for (const Item& item : items_[group.type]) {
        const double of_item = deepest(group, item, of.reserve) / stretch;
        if (item.work > of.up_to || of_item < static_cast<double>(place) + 1.0 || item.value < most) continue;
        depth = item.value > most ? of_item : std::max(depth, of_item);
        most = item.value;
      }
      depths_of[{group.host, group.type, group.memory}].push_back(std::min(depth, devices));
    }
  }
  std::map<std::tuple<int, int, double>, std::size_t> taken;
  std::vector<double> depths;
  for (const std::vector<int>& block : topology.blocks) {
    double sum = 0.0;
    for (const int device : block) {
      const std::tuple key{topology.host[device], topology.type[device], topology.memory[device]};
      const std::vector<double>& of_group = depths_of[key];
      const std::size_t next = taken[key]++;
      sum += next < of_group.size() ? of_group[next] : devices;
    }
    depths.push_back(sum / static_cast<double>(block.size()));
  }
  return depths;
}

}  // namespace motley::parametric
