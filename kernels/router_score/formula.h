#pragma once

#include "motley/kernels/arithmetic.h"

namespace motley::kernels::router {

using namespace arithmetic;

/// exp(x) for x <= 0 within 2 units in the last place; below -87 as for -87. Cody and Waite's reduction by two parts of
/// ln 2, then the polynomial of Cephes' expf (Moshier, 1989).
MOTLEY_HOST_DEVICE float exp_of_negative(float x) {
  const float bounded = x < -87.0F ? -87.0F : x;  // NaN stays
  // As in the boundary codec, 1.5 * 2^23 rounds to an integer, which then is in the low bits.
  const float shifted = sum(product(bounded, 1.44269504F), 12582912.0F);
  const float whole = sum(shifted, -12582912.0F);
  const float r = sum(sum(bounded, product(whole, -0.693359375F)), product(whole, 2.12194440e-4F));
  float p = sum(product(1.9875691500e-4F, r), 1.3981999507e-3F);
  p = sum(product(p, r), 8.3334519073e-3F);
  p = sum(product(p, r), 4.1665795894e-2F);
  p = sum(product(p, r), 1.6666665459e-1F);
  p = sum(product(p, r), 5.0000001201e-1F);
  p = sum(sum(product(product(p, r), r), r), 1.0F);
  return product(p, float_of((bits_of(shifted) - 0x4b400000U + 127U) << 23));
}

/// log(1 + t) for t in [0, 1] within 2 units in the last place: 2 artanh(s) with s = t / (2 + t) <= 1/3, as a series.
MOTLEY_HOST_DEVICE float log1p_of_fraction(float t) {
  const float s = quotient(t, sum(2.0F, t));
  const float x = product(s, s);
  float p = sum(product(1.0F / 15, x), 1.0F / 13);
  p = sum(product(p, x), 1.0F / 11);
  p = sum(product(p, x), 1.0F / 9);
  p = sum(product(p, x), 1.0F / 7);
  p = sum(product(p, x), 1.0F / 5);
  p = sum(product(p, x), 1.0F / 3);
  p = product(p, x);
  return product(2.0F, sum(s, product(s, p)));
}

struct Entropy {
  float loss;
  float gradient;  ///< by the score
};

/// Weighted binary cross-entropy of one score; both 0 where `label` is NaN.
MOTLEY_HOST_DEVICE Entropy cross_entropy(float score, float label, float weight, float positive) {
  const bool known = label == label;
  const float y = known ? label : 0.0F;
  const float t = exp_of_negative(score > 0.0F ? -score : score);
  const float sure = quotient(1.0F, sum(1.0F, t));                                 // sigmoid(|score|)
  const float against = score > 0.0F ? product(t, sure) : sure;                    // sigmoid(-score)
  const float surprise = sum(log1p_of_fraction(t), score > 0.0F ? 0.0F : -score);  // log(1 + exp(-score))
  const float wrong = sum(1.0F, -y);
  const float right = sum(1.0F, product(sum(positive, -1.0F), y));
  const float loss = product(weight, sum(product(wrong, score), product(right, surprise)));
  const float gradient = product(weight, sum(wrong, -product(right, against)));
  return {known ? loss : 0.0F, known ? gradient : 0.0F};
}

}  // namespace motley::kernels::router
