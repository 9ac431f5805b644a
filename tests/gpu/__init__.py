"""What only a GPU can show: pytest -m gpu -n 0

Each file can be run alone. Without a CUDA device everything skips. `test_without_gpu.py` runs in the default suite: it
holds the helpers of the others to what they promise.
"""
