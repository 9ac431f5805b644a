// What Python calls. Tensors come checked from kernels/cpu/fused.py and kernels/augment.py.
#include <torch/extension.h>

#include "augment.h"
#include "convolution.h"
#include "weights.h"

namespace {

using namespace paceline;
using at::Tensor;

const MicroKernel* micro_kernel = nullptr;

std::vector<std::string> supported() {
  std::vector<std::string> names;
  for (const MicroKernel* kernel : micro_kernels())
    if (kernel->is_supported()) names.push_back(kernel->name);
  return names;
}
void use(const std::string& name) {
  for (const MicroKernel* kernel : micro_kernels())
    if (kernel->name == name && kernel->is_supported()) {
      micro_kernel = kernel;
      return;
    }
  throw std::invalid_argument("this CPU cannot run micro-kernel " + name);
}

bf16* data(const Tensor& tensor) {
  TORCH_CHECK(tensor.scalar_type() == at::kBFloat16 && tensor.is_contiguous(), "contiguous bfloat16");
  return reinterpret_cast<bf16*>(tensor.data_ptr());
}
bf16* data_or_null(const std::optional<Tensor>& tensor) { return tensor ? data(*tensor) : nullptr; }
Tensor channels_last(const Tensor& tensor) { return tensor.permute({0, 2, 3, 1}).contiguous(); }

// A source, what it reads, and the size of its images.
struct Handle {
  Chunks chunks;
  int height, width, channels;
  std::vector<Tensor> kept;
  std::unique_ptr<Source> source;
  std::shared_ptr<Handle> shortcut;

  Tensor cells(at::ScalarType type = at::kBFloat16) const {
    return at::empty({chunks.count(), height, width, (channels + 31) / 32, 32, 32}, type);
  }
};
using HandlePointer = std::shared_ptr<Handle>;

HandlePointer images_source(const Tensor& images, int64_t group) {
  const Tensor rows = channels_last(images);
  auto handle = std::make_shared<Handle>(
      Handle{{rows.size(0), group}, int(rows.size(1)), int(rows.size(2)), int(rows.size(3)), {rows}, nullptr, nullptr});
  handle->source = std::make_unique<Images>(handle->chunks, data(rows), handle->height, handle->width, handle->channels);
  return handle;
}

HandlePointer whitened_source(const Tensor& images, const Tensor& weight, const std::optional<Tensor>& bias,
                              int padding, int activation, double alpha, int64_t group) {
  const Tensor rows = channels_last(images), flat = channels_last(weight);
  const int outputs = int(flat.size(0)), kernel = int(flat.size(1)), channels = int(flat.size(3));
  const Tensor packed = at::empty({(outputs + 31) / 32, CELL}, at::kBFloat16);
  pack_whitening(outputs, kernel * kernel * channels, data(flat), data_or_null(bias), data(packed));
  const int height = int(rows.size(1)), width = int(rows.size(2)), smaller = kernel - 1 - 2 * padding;
  auto handle = std::make_shared<Handle>(
      Handle{{rows.size(0), group}, height - smaller, width - smaller, outputs, {rows, packed}, nullptr, nullptr});
  handle->source = std::make_unique<Whitened>(handle->chunks, *micro_kernel, data(rows), data(packed), height, width, channels,
                                              kernel, padding, (outputs + 31) / 32, Activation(activation), float(alpha));
  return handle;
}

HandlePointer normalized_source(const Tensor& p, const Tensor& scale, const Tensor& shift, int channels, int64_t images,
                                int64_t group, int activation, double alpha, HandlePointer shortcut, bool adds_before) {
  const int height = int(p.size(1)), width = int(p.size(2)), blocks = int(p.size(3));
  auto handle = std::make_shared<Handle>(Handle{{images, group}, height, width, channels, {p, scale, shift}, nullptr, shortcut});
  handle->source = std::make_unique<Normalized>(
      handle->chunks, data(p), scale.const_data_ptr<float>(), shift.const_data_ptr<float>(), height, width, blocks,
      Activation(activation), float(alpha), shortcut ? shortcut->source.get() : nullptr,
      adds_before ? Normalized::Add::before : Normalized::Add::after);
  return handle;
}

Shape shape_of(const Handle& source, const Tensor& weight, int window_height, int window_width) {
  return {source.height, source.width, source.channels, int(weight.size(0)), int(weight.size(2)), window_height, window_width};
}

using MaybeTensor = std::optional<Tensor>;

std::tuple<Tensor, MaybeTensor, MaybeTensor> convolve(HandlePointer source, const Tensor& weight, int window_height,
                                                      int window_width, bool keep_places, bool take_sums) {
  const Shape shape = shape_of(*source, weight, window_height, window_width);
  const int64_t chunks = source->chunks.count();
  const Tensor flat = channels_last(weight);
  const bool transforms = forward_sides(shape).is_winograd(*micro_kernel);
  const Tensor packed = at::empty({shape.out_blocks(), transforms ? winograd::POSITIONS : shape.taps(), shape.in_blocks(), CELL}, at::kBFloat16);
  pack_forward(shape, data(flat), transforms, data(packed), at::get_num_threads());
  const std::vector<int64_t> size{chunks, shape.pooled_height(), shape.pooled_width(), shape.out_blocks(), 32, 32};
  const Tensor p = at::empty(size, at::kBFloat16);
  MaybeTensor places, sums;
  if (keep_places && shape.window() > 1) places = at::empty(size, at::kByte);
  if (take_sums) sums = at::empty({chunks, 2, shape.out_blocks() * 32}, at::kFloat);
  forward(*micro_kernel, shape, source->chunks, *source->source, data(packed), data(p),
          places ? places->data_ptr<uint8_t>() : nullptr, sums ? sums->data_ptr<float>() : nullptr, at::get_num_threads());
  return {p, places, sums};
}

std::tuple<Tensor, MaybeTensor, MaybeTensor, MaybeTensor> convolve_backward(
    HandlePointer source, const Tensor& weight, int window_height, int window_width, const Tensor& g, const Tensor& p,
    const MaybeTensor& places, const Tensor& factors, const MaybeTensor& before_p, const MaybeTensor& extra,
    bool source_gradient, bool keep_before, bool keep_before_g, int64_t most_slices) {
  const Shape shape = shape_of(*source, weight, window_height, window_width);
  const int64_t chunks = source->chunks.count();
  const int slices = int(std::min(chunks, most_slices));
  Tensor packed;
  if (source_gradient) {
    const bool transforms = backward_sides(shape).is_winograd(*micro_kernel);
    packed = at::empty({shape.in_blocks(), transforms ? winograd::POSITIONS : shape.taps(), shape.out_blocks(), CELL}, at::kBFloat16);
    pack_backward(shape, data(channels_last(weight)), transforms, data(packed), at::get_num_threads());
  }
  const Tensor gradient_sums = at::empty({slices, shape.out_blocks(), shape.in_blocks(), shape.taps(), CELL}, at::kFloat);
  MaybeTensor before, before_g, sums;
  if (source_gradient && keep_before) before = source->cells();
  if (source_gradient && keep_before_g) before_g = source->cells();
  if (source_gradient) sums = at::empty({chunks, 2, shape.in_blocks() * 32}, at::kFloat);
  backward(*micro_kernel, shape, source->chunks, *source->source,
           {data(g), data(p), places ? places->const_data_ptr<uint8_t>() : nullptr, factors.const_data_ptr<float>(),
            source_gradient ? data(packed) : nullptr, data_or_null(before_p), data_or_null(extra)},
           {gradient_sums.data_ptr<float>(), data_or_null(before), data_or_null(before_g), sums ? sums->data_ptr<float>() : nullptr},
           slices, at::get_num_threads());
  const Tensor gradient = at::empty({shape.outputs, shape.kernel, shape.kernel, shape.inputs}, at::kBFloat16);
  collect_gradient(shape, slices, gradient_sums.const_data_ptr<float>(), data(gradient), at::get_num_threads());
  return {gradient.permute({0, 3, 1, 2}), before, before_g, sums};
}

Tensor from_cells_(HandlePointer source) {
  const Tensor out = at::empty({source->chunks.images, source->height, source->width, source->channels}, at::kBFloat16);
  from_cells(source->chunks, *source->source, source->height, source->width, source->channels, data(out), at::get_num_threads());
  return out.permute({0, 3, 1, 2});
}

std::tuple<Tensor, Tensor, MaybeTensor> into_cells_(HandlePointer source, const Tensor& gradient, const Tensor& p, bool keep_before) {
  const Tensor g = source->cells(), rows = channels_last(gradient);
  MaybeTensor before;
  if (keep_before) before = source->cells();
  const Tensor sums = at::empty({source->chunks.count(), 2, (source->channels + 31) / 32 * 32}, at::kFloat);
  into_cells(source->chunks, *source->source, data(rows), data(p), source->height, source->width, source->channels,
             data_or_null(before), data(g), sums.data_ptr<float>(), at::get_num_threads());
  return {g, sums, before};
}

template <class T>
const T* drawn_or_null(const MaybeTensor& tensor) {
  return tensor ? tensor->const_data_ptr<T>() : nullptr;
}

void augment_(const Tensor& padded, const Tensor& order, const Tensor& out, int window_height, int window_width,
              const Tensor& top, const Tensor& left, const MaybeTensor& flip, const MaybeTensor& shift,
              const MaybeTensor& scale, const MaybeTensor& cutout_top, const MaybeTensor& cutout_left, int cutout) {
  const auto size = [](const Tensor& images) { return Size{int(images.size(1)), int(images.size(2)), int(images.size(3))}; };
  const auto are_within = [](const Tensor& places, int64_t high) {
    return !places.numel() || (places.min().item<int64_t>() >= 0 && places.max().item<int64_t>() <= high);
  };
  for (const MaybeTensor& one : {MaybeTensor(top), MaybeTensor(left), flip, shift, scale, cutout_top, cutout_left, MaybeTensor(out)})
    TORCH_CHECK(!one || one->size(0) == order.size(0), "as many choices and results as images");
  TORCH_CHECK(padded.size(3) == out.size(3), "results with as many channels as the images");
  TORCH_CHECK(are_within(order, padded.size(0) - 1) && are_within(top, padded.size(1) - window_height) &&
              are_within(left, padded.size(2) - window_width), "a window outside the padded images");
  TORCH_CHECK(!cutout_top || (are_within(*cutout_top, window_height - cutout) && are_within(*cutout_left, window_width - cutout)),
              "a square outside the window");
  const Drawn drawn{order.const_data_ptr<int64_t>(), top.const_data_ptr<int64_t>(), left.const_data_ptr<int64_t>(),
                    drawn_or_null<bool>(flip), drawn_or_null<float>(shift), drawn_or_null<float>(scale),
                    drawn_or_null<int64_t>(cutout_top), drawn_or_null<int64_t>(cutout_left), cutout};
  augment(data(padded), size(padded), drawn, {window_height, window_width, int(padded.size(3))}, size(out), order.size(0),
          data(out), at::get_num_threads());
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  pybind11::class_<Handle, HandlePointer>(m, "Source")
      .def_readonly("height", &Handle::height)
      .def_readonly("width", &Handle::width)
      .def_readonly("channels", &Handle::channels);
  const auto released = pybind11::call_guard<pybind11::gil_scoped_release>();
  m.def("supported", &supported);
  m.def("use", &use);
  m.def("images", &images_source, released);
  m.def("whitened", &whitened_source, released);
  m.def("normalized", &normalized_source, released);
  m.def("convolve", &convolve, released);
  m.def("convolve_backward", &convolve_backward, released);
  m.def("from_cells", &from_cells_, released);
  m.def("into_cells", &into_cells_, released);
  m.def("augment", &augment_, released);
}
