"""Where a frame network looks: Grad-CAM on a video's most telling faces.

Selvaraju et al., "Grad-CAM" (2017): the last feature maps, each weighted by how much the answer grows with it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.errors import UserError, one_line
from faces.geometry import crop_face, isotropically_resize_image, put_to_center
from faces.video import read_file
from inference.details import Face, VideoDetails
from inference.devices import choose_device
from inference.views import picture_of
from reporting.pictures import Read, check_size, data_uri, frames_at, path_of, webp
from training.tools.checkpoints import Checkpoint, load_checkpoint

SIDE = 140
QUALITY = 70
OPACITY = 0.55  # of the map over the face


def heatmaps_of(
    details: Sequence[VideoDetails],
    videos: Path,
    checkpoints: Sequence[str | Path],
    count: int,
    device: str = "auto",
    say: Callable[[str], object] = print,
    read: Read = read_file,
) -> list[list[dict[str, Any]]]:
    """For each video, pictures of the `count` faces that each network is surest about, and of where it looks.

    Each is {frame, model, p: what the network says of the face now, crop, map: data URIs}. What a video or a network
    cannot give is left out. Raises UserError for a checkpoint that is none or was not part of the run.
    """
    chosen_device, _ = choose_device(device)
    networks = []
    for path in checkpoints:
        checkpoint = load_checkpoint(path)
        if not any(checkpoint.name in video.models for video in details):
            raise UserError(f"{path}: no video of this run was shown to a network of this name")
        kind = picture_of(checkpoint.config)
        if kind != "frame":
            say(f"{path}: no heat maps, it is a network of {'tracks' if kind == 'tracked' else f'{kind}s'}")
        elif not keeps_places(checkpoint):
            say(f"{path}: no heat maps, {checkpoint.config.encoder} ends without a feature map")
        else:
            checkpoint.network.to(chosen_device)
            networks.append(checkpoint)
    maps = []
    for video in tqdm(details, unit="video", desc="heat maps"):
        try:
            maps.append(_of_video(video, videos, networks, count, read))
        except Exception as error:  # one item of a batch is isolated here; its reason is told
            say(f"{one_line(video.filename)}: no heat maps: {one_line(error)}")
            maps.append([])
    return maps


def keeps_places(checkpoint: Checkpoint) -> bool:
    """Whether the network pools feature maps (n, c, h, w): others have nothing that lies on the face."""
    size = checkpoint.config.size
    try:
        grad_cam(checkpoint.network, torch.zeros(1, 3, size, size))
    except ValueError:
        return False
    return True


def grad_cam(network: nn.Module, x: Tensor) -> tuple[float, np.ndarray]:
    """P(fake) of an input (1, 3, h, w), and what speaks for the answer, fake or real: (rows, columns) float32 in 0-1.

    Raises ValueError where the encoder's features are not maps that the network pools.
    """
    encoder, kept = network.encoder, []
    forward_features = encoder.forward_features

    def keep(x: Tensor) -> Tensor:
        # Only the way from the features to the answer needs gradients; the encoder is by far the larger part.
        with torch.no_grad():
            features = forward_features(x)
        kept.append(features.detach().requires_grad_())
        return kept[0]

    encoder.forward_features = keep
    try:
        with torch.enable_grad():
            logit = network(x).flatten()[0]
    finally:
        del encoder.forward_features
    features = kept[0]
    if features.ndim != 4 or features.shape[1] != encoder.num_features:
        raise ValueError("features without places")
    (gradient,) = torch.autograd.grad(logit if logit > 0 else -logit, features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * features).sum(dim=1))[0].detach().float().cpu().numpy()
    return torch.sigmoid(logit).item(), cam / max(float(cam.max()), 1e-12)


def most_certain(video: VideoDetails, model: str, count: int) -> list[Face]:
    """The `count` faces whose probability by `model` is farthest from 0.5, farthest first."""
    place = video.models.index(model) if model in video.models else None
    if place is None:
        return []
    seen = [face for face in video.faces if len(face.probabilities) > place and face.probabilities[place] is not None]
    return sorted(seen, key=lambda face: -abs(face.probabilities[place] - 0.5))[:count]


def _of_video(
    video: VideoDetails, videos: Path, networks: Sequence[Checkpoint], count: int, read: Read
) -> list[dict[str, Any]]:
    wanted = [(face, network) for network in networks for face in most_certain(video, network.name, count)]
    found = []
    if not wanted:
        return found
    for index, image in frames_at(path_of(video, videos), {face.frame for face, _ in wanted}, read):
        check_size(image, (video.width, video.height))
        for face, network in wanted:
            crop = crop_face(image, np.array(face.box))
            if face.frame == index and crop.size:
                found.append({"frame": index, "model": network.name, **_shown(crop, network)})
    return found


def _shown(crop: np.ndarray, checkpoint: Checkpoint) -> dict[str, Any]:
    """P(fake) of a crop (h, w, 3) uint8 BGR, the crop as the network sees it, and the heat map over it."""
    size, normalize = checkpoint.config.size, checkpoint.config.normalize
    square = put_to_center(isotropically_resize_image(crop, size), size)
    rgb = torch.from_numpy(square[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    x = (rgb - torch.tensor(normalize.mean).view(3, 1, 1)) / torch.tensor(normalize.std).view(3, 1, 1)
    p, cam = grad_cam(checkpoint.network, x.to(next(checkpoint.network.parameters()).device))
    small = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    heat = (cv2.resize(cam, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)
    # Cividis looks the same to colour-blind readers: from dark blue to yellow, ever brighter.
    over = cv2.addWeighted(cv2.applyColorMap(heat, cv2.COLORMAP_CIVIDIS), OPACITY, small, 1 - OPACITY, 0)
    crop_uri, map_uri = (data_uri(webp(image, QUALITY)) for image in (small, over))
    return {"p": float(p), "crop": crop_uri, "map": map_uri}
