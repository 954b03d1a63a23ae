"""The computer, not a run: locks, processes, cores and GPUs, kernels, compilation and memory."""
