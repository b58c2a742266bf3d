"""Parity, throughput, memory and profiles on a GPU, within a time limit: see benchmarks/gpu.sh."""
