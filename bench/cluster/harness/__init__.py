"""scripts/bench_cluster: Motley and PyTorch's pipelines on the same test bed, interleaved."""
