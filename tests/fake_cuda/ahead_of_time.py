"""Compiles Triton programs for GPUs that need not be there, for the signatures that a simulated trial recorded.

python -m tests.fake_cuda.ahead_of_time SIGNATURES.json

Each signature is compiled for one architecture, and one of each program and types for all of them.
"""

import importlib
import json
import sys
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ARCHITECTURES = (90, 80, 100)


def main(path: str) -> int:
    """How many programs were compiled."""
    count, seen = 0, set()
    for signature in json.loads(Path(path).read_text()):
        program = getattr(importlib.import_module(signature["module"]), signature["program"])
        types, constants = dict(signature["types"]), dict(signature["constants"])
        key = (signature["program"], tuple(types.items()))
        for architecture in ARCHITECTURES[:1] if key in seen else ARCHITECTURES:
            kinds = {name: types.get(name, "constexpr") for name in program.arg_names}
            source = ASTSource(program, signature=kinds, constexprs=constants)
            compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
            assert compiled.asm["cubin"]
            count += 1
        seen.add(key)
    return count


if __name__ == "__main__":
    print(main(sys.argv[1]))
