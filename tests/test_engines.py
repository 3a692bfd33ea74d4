"""Engines: which is chosen and why, networks in OpenVINO against PyTorch, and the cache of converted networks."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from common.errors import UserError
from inference import engines, openvino_engine
from inference.engines import Engine, choose_engine, operations
from inference.ensemble import Ensemble, Member
from inference.openvino_engine import cache_folder, core, open_network
from predict_folder import predict_folder
from tests.sightings import sighted
from training.tools.config import NetworkConfig
from training.zoo.networks import network_of

CPU = torch.device("cpu")
FRAME = NetworkConfig(encoder="mobilenetv3_small_050", size=64)
CLIP = NetworkConfig(input="clip", network="mc3_18", frames=4, size=32)
needs_openvino = pytest.mark.skipif(core() is None, reason="OpenVINO is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture(scope="module")
def networks():
    """Networks whose outputs spread, by their config."""
    torch.manual_seed(3)
    made = {}
    for config, gain in ((FRAME, 200), (CLIP, 10)):
        network = network_of(config).eval()
        with torch.no_grad():
            network.fc.weight *= gain
            network.fc.bias.zero_()
        made[config] = network
    return made


def pictures(config, count=5):
    shape = (256, 256, 3) if config.input == "clip" else (80, 70, 3)
    frames = (config.frames,) if config.input == "clip" else ()
    rng = np.random.default_rng(0)
    # Each of its own brightness, as networks that know nothing tell little else.
    return [(rng.random((*frames, *shape)) * 255 * (k + 1) / count).astype(np.uint8) for k in range(count)]


def scores(network, config, **options):
    ensemble = Ensemble([Member("n", network, config)], CPU, **options)
    return ensemble.probabilities(sighted(pictures(config), config.input))[0]


@needs_openvino
@pytest.mark.parametrize("config", [FRAME, CLIP], ids=["frame", "clip"])
def test_openvino_gives_what_pytorch_gives(networks, config):
    expected = scores(networks[config], config)
    assert np.ptp(expected) > 0.05
    exact = scores(open_network(networks[config], config, "a" * 64, torch.float32), config)
    assert np.abs(exact - expected).max() < 1e-4
    half = scores(open_network(networks[config], config, "a" * 64, torch.bfloat16), config)
    assert np.abs(half - expected).max() < 0.1 * np.ptp(expected)


@needs_openvino
def test_batch_size_and_order_do_not_matter(networks):
    network = open_network(networks[FRAME], FRAME, "a" * 64, torch.float32)
    rows = [scores(network, FRAME, batch_size=size) for size in (1, 2, 32, None)]
    assert all(np.array_equal(rows[0], row) for row in rows[1:])


@needs_openvino
def test_second_start_converts_nothing(networks, cache, monkeypatch):
    first = scores(open_network(networks[FRAME], FRAME, "a" * 64, torch.float32), FRAME)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(openvino_engine, "converted", None)
    opened = open_network(networks[FRAME], FRAME, "a" * 64, torch.float32)
    for _ in range(3):  # its pages are given back after the first use
        assert np.array_equal(first, scores(opened, FRAME))


@needs_openvino
def test_other_weights_sizes_and_formats_are_cached_apart(networks, cache):
    open_network(networks[FRAME], FRAME, "a" * 64, torch.float32)
    open_network(networks[FRAME], FRAME, "b" * 64, torch.float32)
    open_network(networks[FRAME], FRAME, "a" * 64, torch.bfloat16)
    open_network(networks[FRAME], FRAME.model_copy(update={"size": 96}), "a" * 64, torch.float32)
    assert len(list(cache.iterdir())) == 4


@needs_openvino
@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: b"something else", lambda content: content[:-9]]
)
def test_damaged_cache_is_made_again(networks, cache, damage):
    expected = scores(open_network(networks[FRAME], FRAME, "a" * 64, torch.float32), FRAME)
    (path,) = cache.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = scores(open_network(networks[FRAME], FRAME, "a" * 64, torch.float32), FRAME)
    assert np.array_equal(expected, again) and path.stat().st_size > 1000


@needs_openvino
@pytest.mark.parametrize("home", ["not a folder", "/proc"])
def test_network_that_cannot_be_kept_is_used_all_the_same(networks, tmp_path, monkeypatch, capsys, home):
    (tmp_path / "not a folder").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
    openvino_engine._warn.cache_clear()
    opened = [open_network(networks[FRAME], FRAME, "a" * 64, torch.float32) for _ in range(2)]
    assert np.abs(scores(opened[0], FRAME) - scores(networks[FRAME], FRAME)).max() < 1e-4
    (line,) = capsys.readouterr().err.splitlines()  # not one for each network
    assert line.startswith("converted networks cannot be kept (") and line.endswith("every start converts them")


@needs_openvino
def test_network_takes_no_more_threads_than_pytorch_has(networks):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        opened = open_network(networks[FRAME], FRAME, "a" * 64, torch.float32)
    finally:
        torch.set_num_threads(before)
    assert len(opened.queue) == 1


@needs_openvino
def test_runs_at_the_same_time_share_the_cache(networks, cache):
    with ThreadPoolExecutor(3) as pool:
        opened = list(pool.map(lambda _: open_network(networks[FRAME], FRAME, "a" * 64, torch.float32), range(3)))
    rows = [scores(network, FRAME) for network in opened]
    assert all(np.array_equal(rows[0], row) for row in rows) and len(list(cache.iterdir())) == 1


@needs_openvino
def test_nobody_is_told_that_openvino_is_used():
    assert sys.modules["openvino_telemetry"] is None


def test_operations_are_counted_without_computing(networks):
    # 30.2 GFLOP an image, as the published network at its size is known to take.
    b7 = Member("b7", network_of(NetworkConfig()), NetworkConfig())
    assert operations(b7) == pytest.approx(30.2e9, rel=0.01)
    assert operations(Member("m", networks[FRAME], FRAME)) < 1e8


@needs_openvino
def test_only_networks_with_enough_to_do_are_converted(networks, monkeypatch):
    engine = Engine(torch.float32, torch.float32)
    member = Member("m", networks[FRAME], FRAME)
    assert engine.ready(member, "a" * 64, 12, 2) is member
    assert engine.format_of(member) == "torch fp32"
    assert engine.format_of(engine.ready(member, "a" * 64, 25, 1)) == "openvino fp32"
    # Few pictures are enough if each is much work, as those of clips are.
    monkeypatch.setattr(engines, "PAYS_FROM_OPERATIONS", 12 * operations(member))
    assert engine.format_of(engine.ready(member, "a" * 64, 12, 1)) == "openvino fp32"
    assert engine.ready(member, "a" * 64, 11, 1) is member
    sequence = NetworkConfig(input="sequence", network="MixNetLSTM", encoder="mixnet_m", frames=10, size=160)
    lstm = Member("s", torch.nn.Identity(), sequence)
    assert Engine(torch.float32, torch.float32, always=True).ready(lstm, "a" * 64, 32, 9) is lstm


@needs_openvino
def test_small_networks_of_frames_keep_32_bits_unless_bfloat16_was_asked_for(networks):
    auto, asked = (
        Engine(torch.float32, torch.bfloat16, always=True),
        Engine(torch.bfloat16, torch.bfloat16, always=True),
    )
    frame, clip = Member("m", networks[FRAME], FRAME), Member("c", networks[CLIP], CLIP)
    assert auto.format_of(auto.ready(frame, "a" * 64, 32, 1)) == "openvino fp32"
    assert auto.format_of(auto.ready(clip, "a" * 64, 32, 1)) == "openvino bf16"
    assert asked.format_of(asked.ready(frame, "a" * 64, 32, 1)) == "openvino bf16"


def test_small_networks_of_frames_keep_32_bits_in_pytorch_too(networks, monkeypatch):
    monkeypatch.setattr(engines, "native_bfloat16", lambda: True)
    auto, asked = (choose_engine("torch", precision, CPU)[0] for precision in ("auto", "bf16"))
    member = Member("m", networks[FRAME], FRAME)
    expected = scores(networks[FRAME], FRAME)
    for engine, name, same in ((auto, "torch fp32", True), (asked, "torch bf16", False)):
        ready = engine.ready(member, "a" * 64, 32, 9)
        ensemble = Ensemble([ready], CPU, engine.dtype)
        found = ensemble.probabilities(sighted(pictures(FRAME), FRAME.input))[0]
        assert engine.format_of(ready) == name and np.array_equal(found, expected) == same


def test_choice_is_told_with_its_reason(monkeypatch):
    monkeypatch.setattr(openvino_engine, "has_bfloat16", lambda: True)
    monkeypatch.setattr(engines, "native_bfloat16", lambda: True)
    if core() is not None:
        engine, why = choose_engine("auto", "auto", CPU)
        assert (engine.dtype, engine.converted, engine.always) == (torch.float32, torch.bfloat16, False)
        assert why == "OpenVINO in bf16, which this CPU computes natively, small networks in fp32"
        assert choose_engine("auto", "fp32", CPU)[0].converted == torch.float32
        assert choose_engine("openvino", "auto", CPU)[0].always
    assert (
        choose_engine("torch", "auto", CPU)[1]
        == "PyTorch in bf16, which this CPU computes natively, small networks in fp32"
    )
    assert choose_engine("torch", "fp32", CPU) == (Engine(torch.float32), "PyTorch in fp32")
    assert choose_engine("auto", "fp16", CPU)[0] == Engine(torch.float16)
    assert choose_engine("auto", "auto", torch.device("cuda"))[0] == Engine(torch.float16)


def test_without_openvino_or_half_precision_pytorch_computes(monkeypatch):
    monkeypatch.setattr(openvino_engine, "core", lambda: None)
    monkeypatch.setattr(engines, "native_bfloat16", lambda: False)
    engine, why = choose_engine("auto", "auto", CPU)
    assert engine == Engine(torch.float32)
    assert why == "PyTorch in fp32 (OpenVINO, which is faster, is not installed)"
    with pytest.raises(UserError, match="--engine openvino: is not installed"):
        choose_engine("openvino", "auto", CPU)


@needs_openvino
@pytest.mark.parametrize(
    ("name", "precision", "device", "reason"),
    [
        ("fast", "auto", CPU, "--engine fast: not one of auto, torch, openvino"),
        ("openvino", "fp16", CPU, "computes in fp32 or bf16, not fp16"),
        ("openvino", "auto", torch.device("cuda"), "computes on the CPU, the device is cuda"),
    ],
)
def test_what_cannot_be_is_refused(name, precision, device, reason):
    with pytest.raises(UserError, match=reason):
        choose_engine(name, precision, device)


@needs_openvino
def test_labels_are_those_of_pytorch(folder, weights):
    options = {"weights_dir": weights, "frames": 4, "device": "cpu", "precision": "fp32", "say": lambda line: None}
    plain = predict_folder(folder, ["small"], engine="torch", **options).labels
    assert predict_folder(folder, ["small"], engine="openvino", **options).labels == pytest.approx(plain, abs=1e-5)
