"""The Dockerfile, as far as it can be judged without building it: docs/dependencies.md says how it has been run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from supply.pins import ROOT, read_pins

SECRET = re.compile(r"(?i)passw|secret|token|api_?key|credential|://\S+@|BEGIN .*PRIVATE KEY|\bgh[pousr]_|\bhf_\w{8}")


@pytest.fixture(scope="module")
def text():
    return (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def instructions(text):
    """(name, rest) of every instruction, comments gone and continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^\s*#.*\n", "", text))
    return [(name.upper(), rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


@pytest.fixture(scope="module")
def stages(instructions):
    """Instructions by the name of their stage, the last being `final`, without what stands before the first."""
    stages = {}
    for name, rest in instructions:
        if name == "FROM":
            stage = stages.setdefault(rest.partition(" AS ")[2] or "final", [])
        if stages:
            stage.append((name, rest))
    return stages


def all_of(wanted, instructions):
    return [rest for name, rest in instructions if name == wanted]


def ignored(path):
    """Whether the build is not shown a path: a pattern matches it, or a folder that it is in."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    wildcards = [re.escape(one).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*") for one in patterns]
    return re.fullmatch(f"({'|'.join(wildcards)})(/.*)?", path) is not None


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if not hadolint:
        pytest.skip("hadolint is not installed: there is no wheel of it for this platform")
    done = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""


def test_base_is_a_cuda_runtime_image_with_a_version_that_an_argument_replaces(instructions):
    assert instructions[0][0] == "ARG"
    assert re.fullmatch(r"CUDA_IMAGE=nvidia/cuda:\d+\.\d+\.\d+-runtime-ubuntu24\.04", instructions[0][1])
    bases = [rest.split(" AS ")[0] for rest in all_of("FROM", instructions)]
    assert set(bases) == {"${CUDA_IMAGE}", "packages"}


def test_cuda_of_the_base_is_of_the_series_that_torch_brings(instructions):
    """A driver serves all versions of a series; an older base would be let in by drivers that torch refuses."""
    base = re.search(r"cuda:(\d+)\.", instructions[0][1])[1]
    toolkit = {pin.version for pin in read_pins(ROOT / "requirements-lock.txt") if pin.package == "cuda-toolkit"}
    assert {version.split(".")[0] for version in toolkit} == {base}


def test_runs_as_an_ordinary_user_whose_number_an_argument_sets(stages):
    final = stages["final"]
    assert all_of("USER", final) == ["${UID}"] and ("ARG", "UID=1000") in final
    user = final.index(("USER", "${UID}"))
    assert [name for name, _ in final[user + 1 :]] == ["CMD"]


def test_anyone_may_write_results_and_caches(stages):
    environment = dict(pair.split("=") for rest in all_of("ENV", stages["final"]) for pair in rest.split())
    opened = (
        next(rest for rest in all_of("RUN", stages["final"]) if "chmod 1777" in rest).split("chmod 1777")[1].split()
    )
    assert {"/cache", "/dataset", "/out", "/home/dfdc"} == set(opened)
    made = " ".join(rest for name, rest in stages["final"] if name in ("COPY", "RUN")).split("chmod 1777")[0].split()
    assert set(opened) <= set(made)
    assert environment["XDG_CACHE_HOME"] == "/cache" and environment["HOME"] == "/home/dfdc"
    assert environment["WEIGHTS"].startswith("/out/") and environment["LOGS"].startswith("/out/")


def test_what_is_copied_from_the_checkout_is_there(stages):
    for rest in (rest for stage in stages.values() for rest in all_of("COPY", stage) if "--from=" not in rest):
        for source in rest.split()[:-1]:
            assert source == "." or ((ROOT / source).exists() and not ignored(source)), source


def test_what_is_copied_from_a_stage_is_made_there(stages):
    for rest in (rest for stage in stages.values() for rest in all_of("COPY", stage) if "--from=" in rest):
        stage, source = re.search(r"--from=(\w+) .*?(/\S+) \S+$", rest).groups()
        made = " ".join(rest for name, rest in stages[stage] if name in ("RUN", "WORKDIR"))
        assert source.removeprefix("/") in made, rest


def test_checkpoints_and_imagenet_weights_go_along_and_may_be_missing(stages):
    copied = all_of("COPY", stages["final"])
    assert "--from=sources /weights weights" in copied
    assert "--from=sources --chown=${UID} /imagenet /cache" in copied
    assert "mkdir -p weights imagenet && mv weights imagenet /" in " ".join(all_of("RUN", stages["sources"]))
    assert not any(
        map(ignored, ("weights/README.md", "weights/final_111", "imagenet/huggingface/hub/model.safetensors"))
    )


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "demo_data/videos/a.mp4",
        "embedded_data/log",
        "logs/b7_111",
        "out/submission.csv",
        "shared/samples",
        "submission.csv",
        "submission.evaluation/roc.png",
        "common/__pycache__/errors.pyc",
        "weights/one.part",
        "weights/one.corrupt",
        ".env",
        "deep/.netrc",
        "key.pem",
        "dfdc.egg-info/PKG-INFO",
        ".ruff_cache/x",
        ".pytest_cache/x",
        "build/lib",
    ],
)
def test_what_is_no_part_of_the_program_stays_outside(path):
    assert ignored(path)


def test_every_tracked_file_that_is_needed_goes_in():
    for path in ("predict_folder.py", "train.sh", "common/files.py", "configs/b7.json", "requirements-lock.txt"):
        assert (ROOT / path).is_file() and not ignored(path)


def test_packages_are_installed_with_hashes_only(stages):
    installs = [
        part for rest in all_of("RUN", stages["packages"]) for part in rest.split("&&") if "pip install" in part
    ]
    assert len(installs) == 2 and all("--require-hashes" in install for install in installs)


def test_apex_is_built_behind_its_argument_only_and_at_a_release_with_amp(instructions, stages):
    behind = 'if [ "$WITH_APEX" = 1 ]; then'
    for name, rest in instructions:
        if "github.com" in rest:
            before, _, inside = rest.partition(behind)
            assert name == "RUN" and "apex" not in before and "apt-get" not in before and inside.endswith("fi")
            assert 'case "$APEX_TAG" in 25.04 | 25.05) ;; *)' in inside and '--branch "$APEX_TAG"' in inside
    assert {"WITH_APEX=0", "APEX_TAG=25.05"} <= set(all_of("ARG", stages["apex"]))
    assert sum("github.com" in rest for _, rest in instructions) == 1


def test_holds_no_secret(text):
    assert not SECRET.search(text)
    assert not [line for line in text.splitlines() if line.startswith("ARG") and re.search("(?i)pass|key|user", line)]


def test_head_gives_the_published_line(text):
    head = text[: text.index("\nARG")]
    line = next(line for line in head.splitlines() if "docker run" in line)
    assert "--gpus all --ipc=host --rm -it" in line and "-v DATA_ROOT:/dataset" in line and line.endswith(" dfdc")
    for script in re.findall(r"\./(\w+\.sh)", head):
        assert (ROOT / script).is_file()
