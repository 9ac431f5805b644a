"""Blocks of convolution, max-pool, batch norm and activation, and the augmentation, in C++ for CPUs with AVX-512 and
bfloat16 products.

`chain.py` has the public function `convolution_chain`, its plain PyTorch definition, and when which runs; `blocks.py`
its arguments; `fused.py` the C++ version. `build.py` compiles `csrc/`. Read there in this order: `layout.h` (how images
lie), `micro_kernel.h` (the one operation that differs between instruction sets), `tile_products.h` (a convolution from
such products), `source.h` (what a convolution reads), `convolution.h`, `forward.cpp`, `backward.cpp`.

`augment.cpp` is a version of `kernels/augment.py`, which has the public function and the definition.
"""
