"""Blocks of convolution, max-pool, batch norm and activation, and the augmentation, in C++ for x86 CPUs with AVX2,
with AVX-512 and bfloat16 products, or with AMX.

`chain.py` has the public function `convolution_chain`, its plain PyTorch definition, and when which runs; `blocks.py`
its arguments; `fused.py` the C++ version. `build.py` compiles `csrc/`. Read there in this order: `vector.h`
(arithmetic, whose instructions are in `avx2/` and `avx512_bf16/`), `micro_kernel.h` (the product that all else is made
of), `layout.h` (how images lie), `tile_products.h` (a convolution from such products), `source.h` (what a convolution
reads), `convolution.h`, `forward.cpp`, `backward.cpp`.

`augment.cpp` is a version of `kernels/augment.py`, which has the public function and the definition.
"""
