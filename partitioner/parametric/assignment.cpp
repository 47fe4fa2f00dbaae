#include "motley/partitioner/parametric/assignment.h"

#include <algorithm>
#include <limits>

namespace motley::parametric {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kScanned = -kInfinity;

class Solver {
 public:
  Solver(int places, const std::vector<int>& capacity, const std::vector<double>& worth)
      : places_(places), classes_(static_cast<int>(capacity.size())), capacity_(capacity), worth_(worth) {
    result_.place.assign(places, 0.0);
    result_.of_class.assign(capacity.size(), 0.0);
    result_.class_of_place.assign(places, -1);
    members_.resize(capacity.size());
  }

  Assignment run() {
    for (int place = 0; place < places_; ++place) {
      double most = 0.0;
      const double* const worth = worths(place);
      for (int c = 0; c < classes_; ++c) most = std::max(most, worth[c] - result_.of_class[c]);
      if (most <= 0.0) continue;
      result_.place[place] = most;
      insert(place);
    }
    for (const double price : result_.place) result_.worth += price;
    for (int c = 0; c < classes_; ++c) result_.worth += result_.of_class[c] * capacity_[c];
    return std::move(result_);
  }

 private:
  [[nodiscard]] const double* worths(int place) const {
    return worth_.data() + static_cast<std::size_t>(place) * static_cast<std::size_t>(classes_);
  }

  /// Gives `place` to a class, moving others along the cheapest path to one that has room or to leaving a place empty.
  void insert(int place) {
    // Distances of scanned classes move to `settled_` and are kScanned here, which nothing is nearer than.
    distance_.resize(classes_);
    from_.assign(classes_, place);
    scanned_.clear();
    settled_.resize(classes_);
    const double* const worth = worths(place);
    for (int c = 0; c < classes_; ++c) distance_[c] = result_.place[place] + result_.of_class[c] - worth[c];
    double to_empty = result_.place[place];  // `place` itself stays empty
    int emptied = place;
    int end = -1;
    double length = 0.0;
    while (true) {
      int nearest = -1;
      double base = kInfinity;
      for (int c = 0; c < classes_; ++c) {
        if (distance_[c] < base && distance_[c] != kScanned) {
          base = distance_[c];
          nearest = c;
        }
      }
      if (to_empty <= base) {
        length = to_empty;
        break;
      }
      if (static_cast<int>(members_[nearest].size()) < capacity_[nearest]) {
        end = nearest;
        length = base;
        break;
      }
      scanned_.push_back(nearest);
      settled_[nearest] = base;
      distance_[nearest] = kScanned;
      for (const int member : members_[nearest]) {
        const double start = base + result_.place[member];
        if (start < to_empty) {
          to_empty = start;
          emptied = member;
        }
        const double* const others = worths(member);
        for (int c = 0; c < classes_; ++c) {
          const double through = start + result_.of_class[c] - others[c];
          if (through < distance_[c]) {
            distance_[c] = through;
            from_[c] = member;
          }
        }
      }
    }
    for (const int c : scanned_) {
      const double rise = length - settled_[c];
      result_.of_class[c] += rise;
      for (const int member : members_[c]) result_.place[member] -= rise;
    }
    result_.place[place] -= length;
    shift(place, end, emptied);
  }

  /// Moves places one class on, backwards along the path that ended at class `end` or by emptying place `emptied`.
  void shift(int place, int end, int emptied) {
    int into = end;
    if (end < 0) {
      if (emptied == place) return;
      into = result_.class_of_place[emptied];
      leave(emptied);
    }
    while (true) {
      const int mover = from_[into];
      const int source = result_.class_of_place[mover];
      if (source >= 0) leave(mover);
      members_[into].push_back(mover);
      result_.class_of_place[mover] = into;
      if (mover == place) return;
      into = source;
    }
  }

  void leave(int place) {
    std::vector<int>& members = members_[result_.class_of_place[place]];
    members.erase(std::find(members.begin(), members.end(), place));
    result_.class_of_place[place] = -1;
  }

  int places_;
  int classes_;
  const std::vector<int>& capacity_;
  const std::vector<double>& worth_;
  Assignment result_;
  std::vector<std::vector<int>> members_;  // places, by class
  std::vector<double> distance_;           // of a class from the place that is inserted
  std::vector<int> from_;                  // the place that would move into a class
  std::vector<int> scanned_;
  std::vector<double> settled_;
};

}  // namespace

Assignment assign(int places, const std::vector<int>& capacity, const std::vector<double>& worth) {
  return Solver(places, capacity, worth).run();
}

}  // namespace motley::parametric
