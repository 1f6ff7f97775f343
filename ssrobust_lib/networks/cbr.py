"""The CBR family of small classifiers (Raghu et al. 2019, Transfusion); the paper classifies with CBR-Small.

Enters: float32 (B, C, H, W), any H and W. Leaves: logits float32 (B, n_outputs). Implements section 2, 'Full
Supervision' of the paper. A block is convolution - batch normalisation - ReLU - 3x3 max pooling with stride 2; the
convolutions have stride 1 and no bias. Raghu et al. do not state the padding: 'same' is used, since 'valid' could not
take the small tiles of a jigsaw puzzle.
"""

import torch
from torch import nn

from ssrobust_lib.networks.registry import NETWORKS


class CBREncoder(nn.Module):
    """The convolutional trunk.

    Parameters
    ----------
    in_channels : channels of the image.
    widths : channels after each block.
    kernel : side of the convolutions in pixels, odd.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], kernel: int) -> None:
        super().__init__()
        self.out_channels = widths[-1]
        self.blocks = nn.Sequential(
            *(_block(before, after, kernel) for before, after in zip((in_channels, *widths), widths, strict=False))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map float32 (B, C, H, W) to feature maps float32 (B, out_channels, ~H/2^blocks, ~W/2^blocks)."""
        return self.blocks(x)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Average the feature maps over space: float32 (B, out_channels)."""
        return self(x).mean(dim=(2, 3))


class CBR(nn.Module):
    """A CBR trunk and a linear layer on its averaged features."""

    def __init__(self, n_outputs: int, in_channels: int, widths: tuple[int, ...], kernel: int) -> None:
        super().__init__()
        self.encoder = CBREncoder(in_channels, widths, kernel)
        self.head = nn.Linear(self.encoder.out_channels, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map float32 (B, C, H, W) to logits float32 (B, n_outputs)."""
        return self.head(self.encoder.features(x))


@NETWORKS.register("cbr_small")
class CBRSmall(CBR):
    """7x7 convolutions, 32 to 256 channels: 2,110,177 parameters with one input channel and one logit."""

    def __init__(self, n_outputs: int, in_channels: int = 1) -> None:
        super().__init__(n_outputs, in_channels, widths=(32, 64, 128, 256), kernel=7)


@NETWORKS.register("cbr_tiny")
class CBRTiny(CBR):
    """5x5 convolutions, 64 to 512 channels."""

    def __init__(self, n_outputs: int, in_channels: int = 1) -> None:
        super().__init__(n_outputs, in_channels, widths=(64, 128, 256, 512), kernel=5)


@NETWORKS.register("cbr_large_w")
class CBRLargeW(CBR):
    """CBR-LargeW(ide): 7x7 convolutions, 64 to 512 channels."""

    def __init__(self, n_outputs: int, in_channels: int = 1) -> None:
        super().__init__(n_outputs, in_channels, widths=(64, 128, 256, 512), kernel=7)


@NETWORKS.register("cbr_large_t")
class CBRLargeT(CBR):
    """CBR-LargeT(all): 7x7 convolutions, five blocks, 32 to 512 channels."""

    def __init__(self, n_outputs: int, in_channels: int = 1) -> None:
        super().__init__(n_outputs, in_channels, widths=(32, 64, 128, 256, 512), kernel=7)


def _block(before: int, after: int, kernel: int) -> nn.Sequential:
    # ReLU is monotone, so pooling first gives the same values and gradients from a quarter of the comparisons
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        nn.ReLU(inplace=True),
    )
