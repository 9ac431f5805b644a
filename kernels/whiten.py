"""Covariance of the patches of images, from which a whitening layer is made.

It is summed in float64. In float32 the order of the sums, and with it the number of threads, changes the covariance by
2e-7, and eigenvectors whose eigenvalues are as close as 5e-4 by 3e-3.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.choice import is_wanted

CHUNK = 1000
"""images that are gone through at a time"""


def patch_covariance(images: Tensor, kernel_size: int, chunk: int = CHUNK, *, centred: bool = True) -> Tensor:
    """Covariance of all kernel_size x kernel_size patches: (P, P) with P = channels * kernel_size squared, float64.

    images: (N, channels, height, width); processed in chunks of `chunk`. centred: False for the second
    moments about zero.
    """
    version = without_patches if is_wanted("patch_covariance", images) else reference
    return version(images, kernel_size, chunk, centred=centred)


def reference(images: Tensor, kernel_size: int, chunk: int = CHUNK, *, centred: bool = True) -> Tensor:
    """The definition, from the patches themselves, which take kernel_size squared times the memory of the images."""
    size = images.shape[1] * kernel_size**2
    products = torch.zeros(size, size, dtype=torch.float64, device=images.device)
    total = torch.zeros(size, dtype=torch.float64, device=images.device)
    count = 0
    for part in images.split(chunk):
        patches = F.unfold(part.double().contiguous(), kernel_size).transpose(1, 2).reshape(-1, size)
        products.addmm_(patches.T, patches)
        total += patches.sum(0)
        count += len(patches)
    moments, mean = products / count, total / count
    return moments - mean.outer(mean) if centred else moments


def without_patches(images: Tensor, kernel_size: int, chunk: int = CHUNK, *, centred: bool = True) -> Tensor:
    """The same from the products of whole rows of pixels, summed over the images before they are sorted into patches.

    Two pixels of a patch are `down` rows apart. One batched matrix product has the products of every pixel of every row
    with every pixel `down` rows below; what a pair of places in the patch needs of them lies on a diagonal.
    """
    count, channels, height, width = images.shape
    size, area = channels * kernel_size**2, (height - kernel_size + 1, width - kernel_size + 1)
    places = (channels, kernel_size, kernel_size)
    products = images.new_empty(*places, *places, dtype=torch.float64)
    rows = images.permute(2, 0, 3, 1).flatten(2)  # (height, N, width * channels): a view, if channels come last
    for down in range(kernel_size):
        pairs = images.new_zeros(height - down, width * channels, width * channels, dtype=torch.float64)
        for part in rows.split(chunk, dim=1):
            exact = part.double()
            pairs.baddbmm_(exact[: height - down].mT, exact[down:])
        for top in range(kernel_size - down):
            below = top + down
            pair = pairs[top : top + area[0]].sum(0).view(width, channels, width, channels)
            for left in range(kernel_size):
                for right in range(kernel_size):
                    block = pair[left : left + area[1], :, right : right + area[1]]
                    product = block.diagonal(dim1=0, dim2=2).sum(2)
                    products[:, top, left, :, below, right] = product
                    products[:, below, right, :, top, left] = product.T
    moments = products.view(size, size) / (count * area[0] * area[1])
    mean_image = images.mean(0, dtype=torch.float64)
    mean = F.unfold(mean_image[None], kernel_size)[0].mean(1)
    return moments - mean.outer(mean) if centred else moments
