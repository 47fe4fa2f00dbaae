#pragma once

#include <compare>
#include <cstdint>

namespace motley {

/// A span of time. Signatures carry it; hot loops may unpack `value` into a double named with its unit.
struct Seconds {
  double value = 0.0;

  friend constexpr auto operator<=>(Seconds, Seconds) = default;
  constexpr Seconds& operator+=(Seconds other) {
    value += other.value;
    return *this;
  }
  constexpr Seconds& operator-=(Seconds other) {
    value -= other.value;
    return *this;
  }
  friend constexpr Seconds operator+(Seconds a, Seconds b) { return {a.value + b.value}; }
  friend constexpr Seconds operator-(Seconds a, Seconds b) { return {a.value - b.value}; }
  friend constexpr Seconds operator*(Seconds a, double factor) { return {a.value * factor}; }
  friend constexpr Seconds operator*(double factor, Seconds a) { return {a.value * factor}; }
  friend constexpr Seconds operator/(Seconds a, double divisor) { return {a.value / divisor}; }
  friend constexpr double operator/(Seconds a, Seconds b) { return a.value / b.value; }
};

/// An amount of memory or of data on a link.
struct Bytes {
  std::int64_t value = 0;

  friend constexpr auto operator<=>(Bytes, Bytes) = default;
  constexpr Bytes& operator+=(Bytes other) {
    value += other.value;
    return *this;
  }
  constexpr Bytes& operator-=(Bytes other) {
    value -= other.value;
    return *this;
  }
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return {a.value + b.value}; }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return {a.value - b.value}; }
  friend constexpr Bytes operator*(Bytes a, std::int64_t factor) { return {a.value * factor}; }
  friend constexpr Bytes operator*(std::int64_t factor, Bytes a) { return {a.value * factor}; }
};

/// A rate of transfer; decimal bytes.
struct BytesPerSecond {
  double value = 0.0;

  friend constexpr auto operator<=>(BytesPerSecond, BytesPerSecond) = default;
};

constexpr Seconds operator/(Bytes bytes, BytesPerSecond rate) {
  return {static_cast<double>(bytes.value) / rate.value};
}

inline namespace literals {
constexpr Seconds operator""_s(long double seconds) {
  return {static_cast<double>(seconds)};
}
constexpr Seconds operator""_ms(long double milliseconds) {
  return {static_cast<double>(milliseconds) * 1e-3};
}
constexpr Bytes operator""_B(unsigned long long bytes) {
  return {static_cast<std::int64_t>(bytes)};
}
}  // namespace literals

}  // namespace motley
