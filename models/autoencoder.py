"""The variational autoencoder of DGR (docs/specification.md, "DGR")."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.generator import laid_out_as

# name -> (side of the images in pixels, channels of the encoder, channels of the decoder, latent dimensions).
# CIFAR_GEN_SMALL is CIFAR_GEN at a quarter of the width, for CPUs.
AUTOENCODERS = {
    "CIFAR_GEN": (32, (3, 64, 128, 512), (512, 256, 64, 3), 1024),
    "CIFAR_GEN_SMALL": (32, (3, 16, 32, 128), (128, 64, 16, 3), 256),
    "TINYIMNET_GEN": (64, (3, 64, 128, 512), (512, 256, 64, 3), 1024),
}


class Autoencoder(nn.Module):
    """Images [B, 3, S, S] in [0, 1] to mean and log-variance of a latent code, and back.

    Args:
        image_size: S. Every convolution of the encoder halves it, every one of the decoder doubles it.
        encoder, decoder: channels before and after each convolution.
        latent: dimensions of the code.
    """

    def __init__(self, image_size: int, encoder: tuple[int, ...], decoder: tuple[int, ...], latent: int):
        super().__init__()
        self.latent = latent
        self.side = image_size // 2 ** (len(encoder) - 1)
        width = encoder[-1] * self.side**2
        encoding = [nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.ReLU()) for a, b in pairwise(encoder)]
        self.encoder = nn.Sequential(*encoding)
        decoding = [nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1), nn.ReLU()) for a, b in pairwise(decoder)]
        decoding[-1] = nn.Sequential(decoding[-1][0])  # the sigmoid comes with decode
        self.decoder = nn.Sequential(*decoding)
        self.q_mean = nn.Linear(width, latent)
        self.q_logvar = nn.Linear(width, latent)
        self.project = nn.Linear(latent, width)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log-variance) [B, latent] of images [B, 3, S, S]."""
        x = self.encoder(images).flatten(1)
        return self.q_mean(x), self.q_logvar(x)

    def decode_logits(self, z: Tensor) -> Tensor:
        """Codes [B, latent] to the logits of images [B, 3, S, S]."""
        x = self.project(z).unflatten(1, (-1, self.side, self.side))
        return self.decoder(laid_out_as(next(self.decoder.parameters()), x))

    def decode(self, z: Tensor) -> Tensor:
        """Codes [B, latent] to images [B, 3, S, S] in [0, 1]."""
        return torch.sigmoid(self.decode_logits(z))
