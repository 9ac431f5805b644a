"""The expensive operations, one per file: a reference in plain PyTorch, faster versions, and one public function.

| operation | definition | on a CPU | on CUDA |
|---|---|---|---|
| `cpu.chain`: blocks of convolution, pool, norm, activation | `reference` | C++, `fused` | the definition |
| `augment` | `reference` | C++, `fused`, in bfloat16; else `by_rows` | Triton, `gathered` |
| `ghost_batch_norm`, activation | `reference`; on CUDA `vectorized` | the definition | Triton, `fused` |
| `pooled_ghost_batch_norm`: the max-pool before them | `reference` | the definition | Triton, `pooled_and_fused` |
| `label_smoothing_cross_entropy` | `reference` | the definition | Triton, `fused` |
| `orthogonalize` | itself, batched over the matrices of one shape | itself | itself |
| `patch_covariance` in `whiten` | `reference` | `without_patches` | `without_patches` |
| `sync_batch_norm` | itself | itself | itself |

`kernels/choice.py` holds which are wanted: by the recipe's `kernels`, `auto` unless it says otherwise.

What torch does for many tensors in one pass is not written again: the moving average of the weights and lookahead are
`torch._foreach_*` (`pipelines/techniques/ema.py`, `lookahead.py`), SGD with Nesterov's momentum and a rate for each
group is `torch.optim.SGD(fused=True)` (`pipelines/optim/optimizers.py`), and Muon's step (`pipelines/optim/muon.py`) is
`torch._foreach_*` around `orthogonalize`, which is called once for all filters.
"""
