"""A compact transformer with a convolutional tokenizer (Hassani et al., 2021), from the package vit-pytorch."""

import torch.nn.functional as F
from torch import nn


def cvt(
    shape: tuple[int, int, int],
    classes: int,
    *,
    dim: int,
    depth: int,
    heads: int,
    mlp_ratio: int,
    convolutions: int,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a convolutional tokenizer (ReLU, max-pool), transformer blocks, sequence pooling and the logits.

    CCT-2/3x2 of Hassani et al. is `dim=128, depth=2, heads=2, mlp_ratio=1, convolutions=2`: 0.28 million parameters,
    49 tokens for an image of 28 x 28 pixels. All its own random noise is off (stochastic depth, and dropout unless
    it is asked for), so that turn-over dropout is the only one, and its blocks use ReLU like all networks of the paper
    (appendix A).

    Args:
        shape: channels, height and width of the images.
        dim: channels of a token.
        mlp_ratio: hidden units of a block's MLP for each channel.
        dropout: ordinary dropout of tokens, of hidden units and of what every block adds.
    """
    from vit_pytorch.cct import CCT

    channels, height, width = shape
    network = CCT(
        img_size=(height, width),
        embedding_dim=dim,
        n_input_channels=channels,
        n_conv_layers=convolutions,
        kernel_size=3,
        stride=1,
        padding=1,
        num_layers=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
        num_classes=classes,
        positional_embedding="learnable",
        dropout_rate=dropout,
        attention_dropout=0.0,
        stochastic_depth_rate=0.0,
    )
    for block in network.classifier.blocks:
        block.activation = F.relu
    return network
