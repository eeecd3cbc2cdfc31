"""Parts of the benchmark script."""
