#include "micro_kernel.h"

namespace paceline {

std::vector<const MicroKernel*> micro_kernels() {
  return {&amx, &avx512_bf16_winograd, &avx512_bf16_direct, &emulated_amx};
}

}  // namespace paceline
