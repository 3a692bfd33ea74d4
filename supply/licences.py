"""Check that every package that the pipeline runs on is under a permissive licence, or a known exception.

    python -m supply.licences

What counts is what the installed packages say of themselves; docs/dependencies.md says what they do not say. Exit
code 0: all are; 1: some are not.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from common.arguments import Parser
from common.errors import run_command
from supply.pins import RUNTIME, read_pins

# By SPDX's identifiers; lower case.
PERMISSIVE = {"0bsd", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0", "isc", "mit", "mit-cmu"}
PERMISSIVE |= {"psf-2.0", "zlib", "llvm-exception"}
# What packages without an SPDX expression call them, lower case, in classifiers or in a line of their own.
OTHER_NAMES = {
    "apache": "apache-2.0",
    "apache 2.0": "apache-2.0",
    "apache software license": "apache-2.0",
    "boost software license": "bsl-1.0",
    "bsd": "bsd-3-clause",
    "bsd license": "bsd-3-clause",
    "3-clause bsd license": "bsd-3-clause",
    "mit license": "mit",
    "mozilla public license 2.0 (mpl 2.0)": "mpl-2.0",
    "nvidia proprietary software": "licenseref-nvidia-proprietary",
    "python software foundation license": "psf-2.0",
}
# The exceptions, by the licence that is not permissive (or "" where a package states none), with the packages that may
# have it. Each is explained in docs/dependencies.md.
EXCEPTIONS = {
    "mpl-2.0": ("certifi", "tqdm"),
    "licenseref-nvidia-proprietary": ("nvidia-*",),
    "": ("cuda-toolkit",),
}


def licence_of(package: Distribution) -> str:
    """What a package says its licence is, in lower case, as an SPDX expression as far as known; "" if nothing."""
    metadata = package.metadata
    if metadata.get("License-Expression"):
        return metadata["License-Expression"].lower()
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if "License ::" in line]
    # Some put the whole text there, or a name with its classifier before it.
    lines = [line for line in (metadata.get("License") or "").splitlines() if line.strip()]
    stated = classifiers or [line.rpartition(" :: ")[2] for line in lines[:1]]
    names = {name.strip().lower() for name in stated if name.strip().lower() not in ("unknown", "osi approved")}
    return " and ".join(sorted(OTHER_NAMES.get(name, name) for name in names))


def refused(package: str, licence: str) -> set[str]:
    """The licences in an expression that are neither permissive nor an exception for this package.

    Of alternatives ("or") one has to do; an expression too tangled to read by eye is taken as if all had to.
    """
    if "(" not in licence:
        alternatives = [_refused_parts(package, part) for part in licence.split(" or ")]
        return min(alternatives, key=len)
    return _refused_parts(package, licence.replace(" or ", " and "))


def _refused_parts(package: str, licence: str) -> set[str]:
    parts = {part.strip() for part in re.split(r" and | with |[()]", licence) if part.strip()} or {""}
    return {part for part in parts if part not in PERMISSIVE and not _excepted(package, part)}


def _excepted(package: str, licence: str) -> bool:
    return any(fnmatch(package, name) for name in EXCEPTIONS.get(licence, ()))


def installed_licences(packages: Iterable[str]) -> dict[str, str]:
    """`licence_of` those that are installed; others may be of other platforms."""
    licences = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            licences[name] = licence_of(distribution(name))
    return licences


def main(argv: Sequence[str] | None = None) -> int:
    Parser(prog="supply.licences", description="Check the licences of all packages that are run.").parse_args(argv)
    pinned = {pin.package for pin in read_pins(*RUNTIME)}
    licences = installed_licences(sorted(pinned))
    bad = 0
    for name, licence in licences.items():
        if parts := refused(name, licence):
            bad += 1
            print(
                f"{name}: {', '.join(sorted(parts)) or 'states no licence'}: neither permissive nor a known exception"
            )
    print(f"{len(licences)} packages: {bad} refused; not installed here: {', '.join(pinned - set(licences)) or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    run_command(main)
