"""Compiles every Triton program for a GPU that need not be there: what the interpreter lets pass, the compiler may not.

Run by `test_compilation.py` in a process of its own, since the interpreter is chosen when Triton is imported.
"""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels import augment, label_smoothing_cross_entropy
from kernels import ghost_batch_norm_triton as norm
from kernels import pooled_ghost_batch_norm_triton as pooled

H100 = GPUTarget("cuda", 90, 32)
TYPES = {
    "*bf16": "images outputs gradients pooled logits padded out",
    "*fp32": "parts statistics sums scales biases running_mean running_var scale_gradient bias_gradient losses "
    "gradient shift scale",
    "*i64": "order top left cutout_top cutout_left labels",
    "*u8": "places",
    "*i1": "flip",
    "fp32": "momentum eps alpha smoothing weight",
}
TYPE_OF = {name: kind for kind, names in TYPES.items() for name in names.split()}
"""of the arguments by their name; the others are int32"""

LAST = {"ROWS": 64, "CHANNELS": 64, "by_channel": 1}
FIRST = {"ROWS": 512, "CHANNELS": 8, "by_pixel": 1}
COMBINED = {"GROUPS": 16, "SPLITS": 4}
PIXELS = {"HEIGHT": 32, "WIDTH": 32, "CHANNELS": 3, "BLOCK": 1024}
CHOICES = ("flip", "shift", "scale", "cutout_top", "cutout_left")
PROGRAMS = [
    *((program, order) for program in (norm.sum_up_images,) for order in (LAST, FIRST)),
    *((program, COMBINED) for program in (norm.combine_statistics, norm.combine_sums)),
    *(
        (program, order | {"ACTIVATION": activation})
        for program in (norm.normalize, norm.sum_up_gradients, norm.differentiate, pooled.differentiate_pooled)
        for order, activation in ((LAST, "celu"), (FIRST, "gelu"), (LAST, "silu"), (FIRST, "relu"), (LAST, None))
    ),
    *((pooled.pool_and_sum_up, order) for order in (LAST, FIRST, LAST | {"steps": 1, "width": 1})),
    (augment._gather, PIXELS),
    (augment._gather, PIXELS | dict.fromkeys(CHOICES)),
    (augment._resize_bilinearly, PIXELS | {"FROM_HEIGHT": 32, "FROM_WIDTH": 32, "HEIGHT": 24, "WIDTH": 24}),
    *(
        (label_smoothing_cross_entropy._losses_and_gradient, {"SMOOTH": s, "ROWS": 64, "CLASSES": 16})
        for s in (True, False)
    ),
]
"""each with the arguments that are constants of the program"""

if __name__ == "__main__":
    for program, constants in PROGRAMS:
        kinds = {name: TYPE_OF.get(name, "i32") for name in program.arg_names} | dict.fromkeys(constants, "constexpr")
        compiled = triton.compile(ASTSource(program, signature=kinds, constexprs=constants), target=H100)
        assert compiled.asm["cubin"]
    print(len(PROGRAMS))
