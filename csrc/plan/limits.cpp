#include "motley/plan/limits.h"

#include <cmath>

#include "motley/base/error.h"

namespace motley {

void check_time(Seconds time, const std::string& where) {
  if (!std::isfinite(time.value) || time.value < 0.0) {
    throw InputError::of("{}: found {} s, expected a time that is finite and not negative", where, time.value);
  }
  if (time.value > kMostSeconds) {
    throw InputError::of("{}: found {} s, expected at most {:g} s", where, time.value, kMostSeconds);
  }
}

ByteSum::ByteSum(std::string source, std::string list) : source_(std::move(source)), list_(std::move(list)) {}

void ByteSum::add(Bytes bytes, const std::string& item) {
  if (bytes.value < 0) {
    throw InputError::of("{}: {}: {}: found {} bytes, expected none or more", source_, list_, item, bytes.value);
  }
  if (bytes.value > kMostBytes - sum_) {
    throw InputError::of("{}: {}: found more than {} bytes up to {}, expected at most that in all", source_, list_,
                         kMostBytes, item);
  }
  sum_ += bytes.value;
}

}  // namespace motley
