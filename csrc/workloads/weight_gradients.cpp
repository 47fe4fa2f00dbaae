#include "motley/workloads/weight_gradients.h"

#include <c10/core/GradMode.h>

#include <utility>

namespace motley {

at::Tensor WeightGradients::slot(const at::Tensor& parameter) const {
  const auto found = slots_.find(parameter.unsafeGetTensorImpl());
  return found == slots_.end() ? at::Tensor() : found->second;
}

void WeightGradients::add(std::function<void()> work) {
  if (deferred_) {
    waiting_.push_back(std::move(work));
  } else {
    const c10::AutoGradMode no_gradients(false);
    work();
  }
}

void WeightGradients::run() {
  const c10::AutoGradMode no_gradients(false);
  for (auto& work : waiting_) {
    work();
    work = nullptr;
  }
  waiting_.clear();
}

}  // namespace motley
