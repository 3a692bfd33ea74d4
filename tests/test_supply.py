"""What the project is made of: pinned, with hashes, asked about, and under permissive licences or known exceptions."""

import re
from email.message import Message

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from common.errors import UserError
from supply.licences import EXCEPTIONS, installed_licences, licence_of, refused
from supply.licences import main as licences
from supply.pins import ROOT, RUNTIME, read_pins

# --- pins ---


def test_every_requirement_names_one_version():
    pinned = read_pins(ROOT / "requirements.txt", ROOT / "requirements-dev.txt", ROOT / "requirements-nodeps.txt")
    assert len({pin.package for pin in pinned}) == len(pinned) > 20


def test_lock_holds_every_requirement_at_its_version():
    """After raising a pin: make lock."""
    assert set(read_pins(ROOT / "requirements.txt")) <= set(read_pins(ROOT / "requirements-lock.txt"))


def test_lock_holds_what_requirements_need_in_turn():
    from importlib.metadata import requires

    locked = {pin.package for pin in read_pins(ROOT / "requirements-lock.txt")}
    for pin in read_pins(ROOT / "requirements.txt"):
        needed = [Requirement(line) for line in requires(pin.package) or []]
        needed = [one for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
        assert {canonicalize_name(one.name) for one in needed} <= locked, f"make lock: {pin.package} needs more"


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: path.name)
def test_every_runtime_pin_has_hashes(path):
    entries = re.split(r"\n(?=\w)", re.sub(r"(?m)^ *#.*\n", "", path.read_text()).strip())
    assert len(entries) >= 2
    for entry in entries:
        _, *hashes = entry.split("--hash=")
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}( \\\n *)?", one) for one in hashes), entry


def test_project_metadata_allows_what_is_pinned():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    pinned = {pin.package: pin.version for pin in read_pins(ROOT / "requirements.txt")}
    for requirement in map(Requirement, allowed):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_names_versions_extras_markers_and_hashes_are_read(tmp_path):
    (tmp_path / "r.txt").write_text(
        "# comment\nTorch_Vision[gdal]==1.0+cpu ; python_version < '3.12' \\\n    --hash=sha256:00\n    # via x\n\n"
        "numpy==2.4\nnumpy==2.5; python_version >= '3.12'\nnumpy==2.4  # again\n"
    )
    assert read_pins(tmp_path / "r.txt") == [("torch-vision", "1.0+cpu"), ("numpy", "2.4"), ("numpy", "2.5")]


@pytest.mark.parametrize("line", ["numpy>=2", "numpy", "-r other.txt", "git+https://h/x", "numpy==2,<3"])
def test_line_that_pins_nothing_is_refused_with_its_number(tmp_path, line):
    (tmp_path / "r.txt").write_text(f"scipy==1\n{line}\n")
    with pytest.raises(UserError, match=r"r\.txt: line 2 is not 'name==version'"):
        read_pins(tmp_path / "r.txt")


# --- licences ---


class Package:
    def __init__(self, **metadata):
        self.metadata = Message()
        for name, value in metadata.items():
            for one in value if isinstance(value, list) else [value]:
                self.metadata[name.replace("_", "-")] = one


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ({"License_Expression": "MIT AND PSF-2.0", "License": "GPL"}, "mit and psf-2.0"),
        (
            {"Classifier": ["Topic :: Video", "License :: OSI Approved :: BSD License"], "License": "text"},
            "bsd-3-clause",
        ),
        ({"Classifier": ["License :: OSI Approved", "License :: OSI Approved :: MIT License"]}, "mit"),
        ({"License": "OSI Approved :: Apache Software License"}, "apache-2.0"),
        ({"License": "GPLv3"}, "gplv3"),
        ({"License": "UNKNOWN"}, ""),
        ({}, ""),
    ],
)
def test_licence_is_the_expression_else_the_classifiers_else_the_first_line(metadata, licence):
    assert licence_of(Package(**metadata)) == licence


@pytest.mark.parametrize(
    ("package", "licence", "parts"),
    [
        ("any", "mit", set()),
        ("any", "apache-2.0 with llvm-exception and isc", set()),
        ("any", "gpl-3.0-only or mit", set()),
        ("any", "mit and gpl-3.0-or-later", {"gpl-3.0-or-later"}),
        ("any", "mit and (gpl-3.0-only or mit)", {"gpl-3.0-only"}),
        ("any", "", {""}),
        ("tqdm", "mpl-2.0 and mit", set()),
        ("any", "mpl-2.0", {"mpl-2.0"}),
        ("nvidia-nccl-cu13", "licenseref-nvidia-proprietary", set()),
        ("cuda-bindings", "licenseref-nvidia-proprietary", {"licenseref-nvidia-proprietary"}),
    ],
)
def test_licences_are_permissive_or_an_exception_for_that_package(package, licence, parts):
    assert refused(package, licence) == parts


def test_all_packages_that_run_are_under_permissive_licences_or_known_exceptions(capsys):
    assert licences([]) == 0, capsys.readouterr().out


def test_a_package_that_is_no_exception_fails_the_check(monkeypatch, capsys):
    monkeypatch.delitem(EXCEPTIONS, "mpl-2.0")
    assert licences([]) == 1
    assert "certifi: mpl-2.0: neither permissive nor a known exception\n" in capsys.readouterr().out


def test_every_exception_is_needed_and_explained():
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    found = installed_licences({pin.package for pin in read_pins(*RUNTIME)})
    for licence, packages in EXCEPTIONS.items():
        for package in packages:
            assert f"`{package}`" in explained
            if not package.startswith(("nvidia", "cuda")):  # which only some platforms have
                assert licence in found[package]
