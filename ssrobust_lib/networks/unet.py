"""The 2-D U-Net (Ronneberger et al. 2015) with which the paper segments axial CT slices.

Enters: float32 (B, C, H, W) with H and W divisible by 16. Leaves: logits float32 (B, n_outputs, H, W). Implements
section 2, 'Full Supervision' of the paper; sizes as in the first author's earlier segmentation code: 32 base filters,
four poolings, 512 filters at the bottom, 3x3 'same' convolutions with batch normalisation, transposed convolutions up.
"""

import torch
from torch import nn

from ssrobust_lib.networks.registry import NETWORKS

POOLINGS = 4
SIDE_MULTIPLE = 2**POOLINGS


class UNetEncoder(nn.Module):
    """The contracting path: what a pretext task trains and what is transferred.

    Parameters
    ----------
    in_channels : channels of the image.
    base_filters : channels at full resolution; they double with each pooling.
    """

    def __init__(self, in_channels: int, base_filters: int) -> None:
        super().__init__()
        widths = [base_filters * 2**level for level in range(POOLINGS + 1)]
        self.out_channels = widths[-1]
        self.levels = nn.ModuleList(
            double_convolution(before, after) for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        # an odd side is rounded up, so that jigsaw tiles of any size pass; sides divisible by 16 are not affected
        self.pool = nn.MaxPool2d(kernel_size=2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map float32 (B, C, H, W) to the feature maps of every level, from full resolution to the bottom.

        Level k is float32 (B, base_filters * 2^k, ceil(H / 2^k), ceil(W / 2^k)).
        """
        maps = [self.levels[0](x)]
        for level in self.levels[1:]:
            maps.append(level(self.pool(maps[-1])))
        return maps

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Average the bottom level over space: float32 (B, out_channels)."""
        return self(x)[-1].mean(dim=(2, 3))


class UNetDecoder(nn.Module):
    """The expanding path with its skip connections; always trained from scratch."""

    def __init__(self, base_filters: int) -> None:
        super().__init__()
        widths = [base_filters * 2**level for level in reversed(range(POOLINGS))]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2) for width in widths)
        self.levels = nn.ModuleList(double_convolution(2 * width, width) for width in widths)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Map the encoder's levels to float32 (B, base_filters, H, W)."""
        x = maps[-1]
        for up, level, skip in zip(self.ups, self.levels, reversed(maps[:-1]), strict=True):
            x = level(torch.cat([skip, up(x)], dim=1))
        return x


@NETWORKS.register("unet")
class UNet(nn.Module):
    """Encoder, decoder and a 1x1 head: 7,763,125 parameters with one channel, 21 classes and 32 base filters."""

    def __init__(self, n_outputs: int, in_channels: int = 1, base_filters: int = 32) -> None:
        super().__init__()
        if base_filters < 1:
            raise ValueError(f"base_filters of the U-Net must be at least 1, got {base_filters}")
        self.encoder = UNetEncoder(in_channels, base_filters)
        self.decoder = UNetDecoder(base_filters)
        self.head = nn.Conv2d(base_filters, n_outputs, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map float32 (B, C, H, W) to logits float32 (B, n_outputs, H, W).

        Raises
        ------
        ValueError
            A side is not a multiple of 16: the levels could not be joined again.
        """
        height, width = x.shape[-2:]
        if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
            raise ValueError(
                f"the U-Net needs image sides divisible by {SIDE_MULTIPLE}, got {height} x {width}: "
                "choose another image size in the profile, or pad the images"
            )
        return self.head(self.decoder(self.encoder(x)))


def double_convolution(before: int, after: int) -> nn.Sequential:
    """Two 3x3 'same' convolutions without bias, each with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
