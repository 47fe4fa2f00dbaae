#pragma once

#include <functional>
#include <vector>

namespace motley::parametric {

/// Prices that prove how much an assignment can be worth: place j costs place[j] >= 0, a member of class c of_class[c]
/// >= 0, and no class is worth more at any place than both together. So no assignment is worth more than `worth` =
/// sum(place) + sum(of_class * capacity), and the one found is worth just that.
struct Assignment {
  std::vector<double> place;
  std::vector<double> of_class;
  std::vector<int> class_of_place;  ///< -1: empty
  double worth = 0.0;
};

/// Assigns places 0 .. places - 1 to classes, at most capacity[c] to class c, so that the sum of worth[j * classes + c]
/// is greatest; places may stay empty. Shortest augmenting paths over classes (Jonker and Volgenant, 1987, with
/// capacities): O(places * classes * (places + classes)) at worst, about O(places * classes) where few places are
/// contested.
[[nodiscard]] Assignment assign(int places, const std::vector<int>& capacity, const std::vector<double>& worth);

}  // namespace motley::parametric
