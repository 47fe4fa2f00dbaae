#include "images.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "motley/base/error.h"

namespace shapes {
namespace {

/// A sample's random numbers: the C++ standard fixes this engine's output, not that of its distributions.
class Draws {
 public:
  Draws(motley::Split split, std::int64_t sample)
      : engine_(static_cast<std::uint64_t>(sample) * 3 + static_cast<std::uint64_t>(split)) {}

  /// In [least, most).
  double between(double least, double most) {
    return least + (most - least) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }

 private:
  std::mt19937_64 engine_;
};

bool inside(std::int64_t kind, double x, double y, double radius) {
  constexpr double kArm = 0.3;  // half the width of an arm, in radii
  const double far = std::max(std::abs(x), std::abs(y));
  switch (kind) {
    case 0:
      return x * x + y * y <= radius * radius;
    case 1:
      return far <= radius * 0.85;  // about the disc's area
    case 2:
      return far <= radius && std::min(std::abs(x), std::abs(y)) <= kArm * radius;
    default:
      return far <= radius && std::abs(x - y) <= kArm * radius;
  }
}

std::int64_t kind_of(motley::Split split, std::int64_t sample) {
  return static_cast<std::int64_t>(Draws(split, sample).between(0.0, kKinds));
}

void draw(motley::Split split, std::int64_t sample, std::int64_t side, double noise, float* pixels) {
  Draws draws(split, sample);
  const auto kind = static_cast<std::int64_t>(draws.between(0.0, kKinds));
  const auto length = static_cast<double>(side);
  const double radius = draws.between(0.2, 0.35) * length;
  const double center_x = draws.between(radius, length - radius);
  const double center_y = draws.between(radius, length - radius);
  for (std::int64_t y = 0; y < side; ++y) {
    for (std::int64_t x = 0; x < side; ++x) {
      const bool in =
          inside(kind, static_cast<double>(x) + 0.5 - center_x, static_cast<double>(y) + 0.5 - center_y, radius);
      *pixels++ = static_cast<float>((in ? 1.0 : 0.0) + draws.between(-noise, noise));
    }
  }
}

}  // namespace

std::int64_t Images::size(motley::Split split) const {
  return split == motley::Split::Train ? samples_ : std::max<std::int64_t>(samples_ / 10, 1);
}

std::vector<std::string> Images::fields() const {
  return {"image", "kind"};
}

motley::Fields Images::fetch(std::span<const std::string> names, motley::Split split,
                             std::span<const std::int64_t> samples) const {
  const auto count = static_cast<std::int64_t>(samples.size());
  motley::Fields fields;
  for (const std::string& name : names) {
    if (name == "image") {
      at::Tensor images = at::empty({count, 1, side_, side_}, at::kFloat);
      auto* pixels = images.mutable_data_ptr<float>();
      for (const std::int64_t sample : samples) {
        draw(split, sample, side_, noise_, pixels);
        pixels += side_ * side_;
      }
      fields[name] = images;
    } else if (name == "kind") {
      at::Tensor kinds = at::empty({count}, at::kLong);
      std::ranges::transform(samples, kinds.mutable_data_ptr<std::int64_t>(),
                             [split](std::int64_t sample) { return kind_of(split, sample); });
      fields[name] = kinds;
    } else {
      throw motley::InputError::of("shapes: found field \"{}\", expected \"image\" or \"kind\"", name);
    }
  }
  return fields;
}

}  // namespace shapes
