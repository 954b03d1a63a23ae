"""Tools for the computer that a run uses: files, locks, processes, cores, GPUs, kernels, compilation and memory."""
