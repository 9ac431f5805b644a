// How a side of pixels is cut into tiles.
#pragma once
#include <algorithm>

#include "winograd.h"

namespace paceline {

// First come tiles that are whole, then tiles that are one pixel smaller; the last may be smaller still.
struct Cut {
  int size, tile, whole;

  // Tiles begin at multiples of `tile`.
  static Cut regular(int size, int tile) { return {size, tile, size / tile}; }
  // For Winograd's products: only a whole tile needs the last position, so that 6 pixels are cut into 3 and 3.
  static Cut with_fewest_positions(int size) {
    const int count = (size + winograd::TILE - 1) / winograd::TILE;
    return {size, winograd::TILE, std::max(0, size - (winograd::TILE - 1) * count)};
  }

  int count() const { return (size + tile - 1) / tile; }
  int start(int at) const { return tile * at - std::max(0, at - whole); }
  int end(int at) const { return std::min(start(at + 1), size); }
  int positions(int at) const { return at < whole ? winograd::SIDE : winograd::SIDE - 1; }
  int positions() const { return (winograd::SIDE - 1) * count() + whole; }
};

}  // namespace paceline
