// The router's output layer on the host: scores, loss and all gradients, by LibTorch's operators and by router_score.
#include <ATen/ATen.h>

#include "kernels/measure.h"
#include "motley/kernels/router_score/router_score.h"

namespace motley {

void bench_router() {
  using namespace kernels;
  constexpr std::int64_t kModels = 28;
  for (const auto& [queries, width] :
       {std::pair<std::int64_t, std::int64_t>{8, 256}, {32, 512}, {64, 512}, {512, 512}}) {
    const at::Tensor query = at::randn({queries, width}), model = at::randn({kModels, width}) * 0.02;
    const at::Tensor bias = at::randn({kModels}), label = at::rand({queries, kModels}).round();
    const at::Tensor score = at::empty({queries, kModels}), by_score = at::empty({queries, kModels});
    const at::Tensor query_gradient = at::empty({queries, width});
    const at::Tensor model_gradient = at::zeros({kModels, width}), bias_gradient = at::zeros({kModels});
    const RouterScoreInput input{static_cast<std::size_t>(queries),
                                 kModels,
                                 static_cast<std::size_t>(width),
                                 Element::Float32,
                                 query.data_ptr(),
                                 model.data_ptr(),
                                 bias.data_ptr<float>(),
                                 label.data_ptr<float>(),
                                 nullptr,
                                 nullptr};
    double sum = 0.0;
    // What autograd runs: the derivative of the loss by the scores is sigmoid - label.
    const auto forward = [&] {
      const at::Tensor z = at::linear(query, model, bias);
      sum += at::binary_cross_entropy_with_logits(z, label, {}, {}, at::Reduction::Sum).item<double>();
      return z;
    };
    const auto score_gradient = [&](const at::Tensor& z) { return (at::sigmoid(z) - label) * 0.5; };
    const auto by_query = [&](const at::Tensor& g) { return at::matmul(g, model); };
    const auto by_model = [&](const at::Tensor& g) {
      model_gradient.addmm_(g.t(), query);
      bias_gradient.add_(g.sum(0));
    };
    const at::Tensor kept = score_gradient(forward());
    const auto scores_only = [&] {
      sum += router_score_on_cpu(input, score.data_ptr<float>(), by_score.data_ptr<float>());
    };
    const auto ours_by_query = [&] {
      router_query_gradient_on_cpu(input, by_score.data_ptr<float>(), 0.5F, query_gradient.data_ptr<float>());
    };
    const auto ours_by_model = [&] {
      router_model_gradient_on_cpu(input, by_score.data_ptr<float>(), 0.5F, model_gradient.data_ptr<float>(),
                                   bias_gradient.data_ptr<float>());
    };
    const std::string of = ", " + std::to_string(queries) + " queries, 28 models, width " + std::to_string(width);
    compare("scores and loss" + of, 0,
            {{"LibTorch linear, bce_with_logits, sigmoid", [&] { (void)score_gradient(forward()); }},
             {"router_score_on_cpu", scores_only},
             {"LibTorch linear, router_loss_on_cpu", [&] {
                const at::Tensor z = at::linear(query, model, bias);
                sum += router_loss_on_cpu(input, z.data_ptr<float>(), by_score.data_ptr<float>());
              }}});
    compare("products alone" + of, 0,
            {{"LibTorch linear", [&] { (void)at::linear(query, model, bias); }},
             {"router_score_on_cpu with its loss", scores_only}});
    compare("gradient by queries" + of, 0,
            {{"LibTorch matmul", [&] { (void)by_query(kept); }}, {"router_query_gradient_on_cpu", ours_by_query}});
    compare("gradient by models" + of, 0,
            {{"LibTorch addmm_, sum, add_", [&] { by_model(kept); }}, {"router_model_gradient_on_cpu", ours_by_model}});
    compare("all" + of, 0,
            {{"LibTorch",
              [&] {
                const at::Tensor g = score_gradient(forward());
                (void)by_query(g);
                by_model(g);
              }},
             {"router_score", [&] {
                scores_only();
                ours_by_query();
                ours_by_model();
              }}});
    if (sum == 0.0) {
      std::printf("no loss\n");
    }
  }
}

}  // namespace motley
