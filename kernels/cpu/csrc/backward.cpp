#include <cstring>

#include "convolution.h"
#include "parallel.h"
#include "passes.h"
#include "weights_gradient.h"

namespace paceline {
namespace {

// A cell [image][channel] to [channel][image], with zeros for images that the chunk does not have.
void turn(const bf16* cell, int rows, bf16* turned) {
  Row first[16], last[16];
  for (int pair = 0; pair < 16; pair++) {
    const Row zero = no_values();
    interleave(2 * pair < rows ? load(cell + pair * 64) : zero, 2 * pair + 1 < rows ? load(cell + pair * 64 + 32) : zero,
               first[pair], last[pair]);
  }
  transpose16(first, turned), transpose16(last, turned + CELL / 2);
}

// Values that a thread works in.
struct Scratch {
  int64_t row, turned, slopes, g;
  Scratch(const Shape& s, bool for_source) {
    row = int64_t(s.width) * s.in_blocks() * CELL;
    turned = s.height * row;
    slopes = for_source ? s.height * row : 0;
    g = int64_t(s.seen_height()) * s.seen_width() * s.out_blocks() * CELL;
  }
};

// The backward pass of a chunk in one thread.
struct ChunkBackward {
  const MicroKernel& micro_kernel;
  const Shape& shape;
  const Source& source;
  const BackwardInputs& in;
  const BackwardOutputs& out;
  const int64_t chunk;
  const int images;
  const float* factors;  // of the chunk's group
  bf16 *row, *turned, *slopes, *G;

  // The source's rows [first, beyond), turned: cells [input block][pixel].
  void make_source(int first, int beyond) {
    const int blocks = shape.in_blocks();
    const int64_t pixels = int64_t(shape.height) * shape.width;
    for (int y = first; y < beyond; y++) {
      source.rows(chunk, y, y + 1, row, in.weights ? slopes + int64_t(y) * shape.width * blocks * CELL : nullptr);
      for (int x = 0; x < shape.width; x++)
        for (int block = 0; block < blocks; block++)
          turn(row + (int64_t(x) * blocks + block) * CELL, images, turned + (block * pixels + y * shape.width + x) * CELL);
    }
  }

  // The gradient of one block of outputs, in the pixels of the convolution that the maxima came from: `G`, and `pairs`
  // unless null.
  void unpool(int block, int top, int bottom, bf16* pairs) {
    const int blocks = shape.out_blocks(), width = shape.seen_width(), rows = (images + 1) / 2 * 2;
    const bool reads_G = in.weights || !pairs;
    Vector factor[3][2];
    for (int f = 0; f < 3; f++)
      for (int h = 0; h < 2; h++) factor[f][h] = load_unaligned(factors + (f * blocks + block) * 32 + h * 16);
    for (int y = top; y < bottom; y++)
      for (int x = 0; x < shape.pooled_width(); x++) {
        const int64_t at = (((chunk * shape.pooled_height() + y) * shape.pooled_width() + x) * blocks + block) * CELL;
        alignas(64) bf16 gradient[CELL];
        for (int i = 0; i < rows; i++) {
          if (i >= images) {
            store(gradient + i * 32, no_values());
            continue;
          }
          const int64_t next = at + blocks * CELL + i * 32;  // the next pixel's: no stream that hardware sees
          prefetch(in.g + next), prefetch(in.p + next);
          if (in.places && i % 2 == 0) prefetch(in.places + next);
          const Row g = load(in.g + at + i * 32), p = load(in.p + at + i * 32);
          const Vector first = fma(low(g), factor[0][0], fma(low(p), factor[1][0], factor[2][0]));
          const Vector last = fma(high(g), factor[0][1], fma(high(p), factor[1][1], factor[2][1]));
          store(gradient + i * 32, pack(first, last));
        }
        for (int j = 0; j < shape.window(); j++) {
          const int py = y * shape.window_height + j / shape.window_width, px = x * shape.window_width + j % shape.window_width;
          bf16* const pair = pairs ? pairs + (int64_t(py - top * shape.window_height) * width + px) * CELL : nullptr;
          bf16* const to = G + ((int64_t(py) * width + px) * blocks + block) * CELL;
          for (int i = 0; i < rows; i += 2) {
            Row values[2] = {load(gradient + i * 32), load(gradient + i * 32 + 32)};
            if (in.places)
              for (int k = 0; k < 2; k++) values[k] = keep_where(in.places + at + (i + k) * 32, j, values[k]);
            if (pairs) store_pair(pair, i / 2, values[0], values[1]);
            if (reads_G) store(to + i * 32, values[0]), store(to + i * 32 + 32, values[1]);
          }
          for (int i = rows; pairs && i < 32; i += 2) store_pair(pair, i / 2, no_values(), no_values());
        }
      }
  }

  // Where a pixel of the source lies in a chunk's images.
  int64_t cell(int y, int x, int block) const { return ((int64_t(y) * shape.width + x) * shape.in_blocks() + block) * CELL; }
  int64_t first_cell() const { return chunk * shape.height * shape.width * shape.in_blocks() * CELL; }

  // Prefetches what `take_gradient` reads of a pixel, while its products are computed.
  void prefetch_pixel(int64_t cell) const {
    for (int at = 0; at < images * 32; at += 32) {
      prefetch(slopes + cell + at);
      if (in.before_p) prefetch(in.before_p + first_cell() + cell + at);
    }
  }

  // A pixel's products, of the images from `begin` on, to the gradient at the source.
  void take_gradient(int64_t cell, int begin, int end, const float* product, ChannelSums& sum, ChannelSums& by_p) const {
    for (int i = begin; i < end; i++, product += 32) {
      const int64_t within = cell + i * 32, at = first_cell() + within;
      Vector first = load(product), last = load(product + 16);
      if (in.extra) {
        const Row extra = load(in.extra + at);
        first = first + low(extra), last = last + high(extra);
      }
      if (out.before) store(out.before + at, pack(first, last));
      const Row slope = load(slopes + within);
      first = first * low(slope), last = last * high(slope);
      sum.add(first, last);
      if (out.before_g) store(out.before_g + at, pack(first, last));
      if (!in.before_p) continue;
      const Row p = load(in.before_p + at);
      by_p.add_product(first, last, low(p), high(p));
    }
  }

  // The gradient at the source in the rows of tiles [first_row, beyond), from column `start` on.
  void source_gradient(TileProducts& tiles, int first_row, int beyond, int start, int cells) {
    const int blocks = shape.in_blocks(), last = std::min(start + tiles.columns_at_once(), tiles.tile_columns());
    tiles.prepare(G, first_row, start, images);
    for (int block = 0; block < blocks; block++) {
      const bf16* weights = in.weights + int64_t(block) * cells * shape.out_blocks() * CELL;
      for (int row = first_row; row < beyond; row++) {
        ChannelSums sum, by_p;
        for (int column = start; column < last; column++)
          for (int begin = 0; begin < images; begin += tiles.images_at_once()) {
            if (tiles.is_direct()) tiles.for_each_pixel(row, column, [&](int y, int x, const float*) { prefetch_pixel(cell(y, x, block)); });
            tiles.compute(weights, row, column, begin);
            const int end = std::min(begin + tiles.images_at_once(), images);
            tiles.for_each_pixel(row, column, [&](int y, int x, const float* product) {
              take_gradient(cell(y, x, block), begin, end, product, sum, by_p);
            });
          }
        if (!out.before_sums) continue;
        float* sums = out.before_sums + (chunk * 2 * blocks + block) * 32;
        sum.add_to(sums), by_p.add_to(sums + blocks * 32);
      }
    }
  }
};

}  // namespace

void backward(const MicroKernel& micro_kernel, const Shape& shape, const Chunks& chunks, const Source& source,
              const BackwardInputs& in, const BackwardOutputs& out, int slices, int threads) {
  const Scratch sizes(shape, in.weights);
  const int64_t block_gradient = int64_t(shape.in_blocks()) * shape.taps() * CELL;
  const int cells = backward_sides(shape).is_winograd(micro_kernel) ? winograd::POSITIONS : shape.taps();
  parallel(slices, threads, [&](Next next) {
    const auto row = scratch<bf16>(sizes.row), turned = scratch<bf16>(sizes.turned), slopes = scratch<bf16>(sizes.slopes);
    const auto G = scratch<bf16>(sizes.g);
    WeightsGradient weights_gradient(micro_kernel, shape);
    const int strip = weights_gradient.strip_rows();
    TileProducts tiles(micro_kernel, backward_sides(shape), shape.outputs);
    micro_kernel.begin();
    for (int64_t slice; next(slice);) {
      const int64_t begin = slice * chunks.count() / slices, end = (slice + 1) * chunks.count() / slices;
      for (int64_t chunk = begin; chunk < end; chunk++) {
        const float* factors = in.factors + chunks.group_of(chunk) * 3 * shape.out_blocks() * 32;
        ChunkBackward work{micro_kernel, shape, source, in, out, chunk, chunks.rows(chunk), factors,
                           row.get(), turned.get(), slopes.get(), G.get()};
        if (out.before_sums) memset(out.before_sums + chunk * 2 * shape.in_blocks() * 32, 0, 2 * shape.in_blocks() * 32 * sizeof(float));
        for (int y = 0, made = 0, tile_row = 0; y < shape.pooled_height(); y += strip) {
          const int last = std::min(y + strip, shape.pooled_height()), top = y * shape.window_height, bottom = last * shape.window_height;
          const bool is_last = last == shape.pooled_height();
          const int needed = is_last ? shape.height : std::min(bottom + shape.border(), shape.height);
          work.make_source(made, needed);
          made = needed;
          weights_gradient.begin(turned.get(), top, bottom, chunks.rows(chunk));
          for (int block = 0; block < shape.out_blocks(); block++) {
            work.unpool(block, y, last, weights_gradient.pairs());
            float* gradient = out.gradient + (slice * shape.out_blocks() + block) * block_gradient;
            weights_gradient.compute(G.get(), block, chunk > begin || y > 0, gradient);
          }
          int ready = tile_row;  // tiles whose neighbours all have their gradient by now
          while (in.weights && ready < tiles.tile_rows() && (is_last || tiles.rows_for(ready) <= bottom)) ready++;
          for (int beyond; tile_row < ready; tile_row = beyond) {
            beyond = std::min(tile_row + tiles.rows_at_once(), ready);
            for (int column = 0; column < tiles.tile_columns(); column += tiles.columns_at_once())
              work.source_gradient(tiles, tile_row, beyond, column, cells);
          }
        }
      }
    }
    micro_kernel.end();
  });
}

}  // namespace paceline
