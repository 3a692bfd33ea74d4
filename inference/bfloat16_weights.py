"""Weights of convolutions in bfloat16 without losing what their filters add up to.

bfloat16 has eight significant bits. The first and the depthwise filters of a network are often differences of
neighbouring pixels, whose few coefficients all but cancel out; rounded one by one they do not any more, and answer to
plain brightness, which is large where the differences are small. Here the coefficients of such a filter are rounded
together, some of them to the other side, so that their sum stays.
"""

from typing import Any

import numpy as np
import torch

CONVOLUTIONS = {"Convolution": 1, "GroupConvolution": 2}  # by how many leading dimensions their filters are counted
FEW = 40  # coefficients; the errors of more average out


def round_weights(model: Any) -> None:
    """Round the filters of few coefficients of an OpenVINO model in place.

    What follows a convolution and can be is multiplied into its filters first, as OpenVINO does before it rounds.
    """
    from openvino import op
    from openvino._offline_transformations import apply_moc_transformations

    apply_moc_transformations(model, cf=False)
    for node in model.get_ordered_ops():
        leading = CONVOLUTIONS.get(node.get_type_name())
        weights = node.input_value(1).get_node() if leading else None
        if leading and weights.get_type_name() == "Constant":
            shape = weights.data.shape
            filters = weights.data.astype(np.float32).reshape(int(np.prod(shape[:leading])), -1)
            if filters.shape[1] <= FEW:
                rounded = op.Constant(rounded_together(filters).reshape(shape))
                node.input(1).replace_source_output(rounded.output(0))


def rounded_together(filters: np.ndarray) -> np.ndarray:
    """Filters (n, k) float32 in values of bfloat16, each coefficient one of the two around it, sums nearly as before.

    Coefficients are rounded to the other side one after another, each time that which adds least to the squared error
    for what it takes from the error of the sum.
    """
    exact = torch.from_numpy(np.ascontiguousarray(filters))
    nearest = exact.bfloat16()
    side = torch.where(exact > nearest.float(), torch.inf, -torch.inf).bfloat16()
    rounded = nearest.float().numpy()
    step = torch.nextafter(nearest, side).float().numpy() - rounded
    off = filters.astype(np.float64) - rounded
    step[off == 0] = 0
    missing = off.sum(axis=1, keepdims=True)
    every = np.arange(len(filters))
    while True:
        gain = missing**2 - (missing - step) ** 2
        price = np.where(gain > 0, (off - step) ** 2 - off**2, np.inf) / np.where(gain > 0, gain, 1)
        chosen = price.argmin(axis=1)
        taken = np.where(np.isfinite(price[every, chosen]), step[every, chosen], 0)
        if not taken.any():
            return rounded
        rounded[every, chosen] += taken
        off[every, chosen] -= taken
        missing[:, 0] -= taken
        step[every[taken != 0], chosen[taken != 0]] = 0
