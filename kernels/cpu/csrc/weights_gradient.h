// The products of a convolution's weights' gradient: tap by tap, or by Winograd's minimal filtering.
#pragma once
#include <vector>

#include "cut.h"
#include "layout.h"
#include "parallel.h"

namespace paceline {

// Over the images of a chunk, by strips: rows [top, bottom) of the convolution's output.
class WeightsGradient {
 public:
  WeightsGradient(const MicroKernel& micro_kernel, const Shape& shape);

  // Rows of the pool's output in a strip.
  int strip_rows() const { return strip; }
  // Where the gradient of one block of outputs is wanted as b of `multiply`: [pixel of the strip][pairs of images]. Null
  // where it is not.
  bf16* pairs() const { return transforms ? nullptr : of_outputs.get(); }
  // The next strip. source: cells [input block][pixel][32 inputs][32 images], made as far as the strip needs them.
  void begin(const bf16* source, int top, int bottom, int images);
  // Adds to, or sets, gradient[input block][tap][32 inputs][32 outputs] of a block of outputs.
  // output_gradient: cells [pixel][output block][32 images][32 outputs], with zeros behind an odd number of images.
  void compute(const bf16* output_gradient, int block, bool add, float* gradient);

 private:
  void multiply_taps(bool add, float* gradient);
  void transform_outputs(const bf16* output_gradient, int block);
  void multiply_positions(bool add, float* gradient);
  Cut rows() const { return Cut::with_fewest_positions(bottom - top); }
  int tiles() const { return rows().count() * columns.count(); }
  int64_t position_stride() const { return tiles() * CELL + 32; }  // no power of two, see TileProducts

  const MicroKernel& micro_kernel;
  const Shape& shape;
  const bool transforms;
  const Cut columns;
  const int strip;
  const bf16* source = nullptr;
  int top = 0, bottom = 0, images = 0;
  std::vector<Segment> segments;                   // of a position, one for each row of tiles
  std::unique_ptr<bf16[], Free<bf16>> of_source;   // cells [input block][position][tile]
  std::unique_ptr<bf16[], Free<bf16>> of_outputs;  // cells [position][tile], or `pairs`
  std::unique_ptr<float[], Free<float>> products;  // [position][32 inputs][32 outputs]
};

}  // namespace paceline
