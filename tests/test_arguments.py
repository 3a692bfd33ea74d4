"""Numbers on a command line: which are taken, and what is said of the others."""

import argparse

import pytest

from common.arguments import Parser, count, decimal_number, positive_int, under_half, whole_number


@pytest.mark.parametrize(
    ("read", "taken", "refused", "bounds"),
    [
        (positive_int, {"1": 1, "007": 7}, ["0", "-1", "+1", "1.0", "1e3", "", " 1", "x", "9" * 5000], "of at least 1"),
        (count, {"0": 0, "2147483647": 2**31 - 1}, ["-1", "2147483648", "9" * 5000], "from 0 to 2147483647"),
        (whole_number(1, 5), {"1": 1, "5": 5}, ["0", "6"], "from 1 to 5"),
        (under_half, {"0": 0.0, "0.49": 0.49, "1e-3": 0.001}, ["-0.1", "0.5", "nan", "x", ""], "from 0 to under 0.5"),
        (decimal_number(lambda x: x > 0, "over 0"), {"1e300": 1e300}, ["0", "-1", "nan", "inf", "1e999"], "over 0"),
    ],
)
def test_numbers_within_their_bounds_are_taken(read, taken, refused, bounds):
    assert {text: read(text) for text in taken} == taken
    for text in refused:
        with pytest.raises(argparse.ArgumentTypeError, match=f"is not a .*number {bounds}$"):
            read(text)


def test_what_is_wrong_is_one_line(capsys):
    parser = Parser(prog="this")
    parser.add_argument("--share", type=under_half)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--share", "a\nb"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1
    assert said.startswith("this: argument --share: 'a\\nb' is not a number from 0 to under 0.5 ")


def test_help_tells_each_default_once(capsys):
    parser = Parser(prog="this")
    parser.add_argument("--zero", default=0, help="none")
    parser.add_argument("--naught", default=0.0, help="nought")
    parser.add_argument("--share", default=(1, 1), help="a share (default: 1/1)")
    for flag, default in (("--list", []), ("--tuple", ()), ("--unsaid", None)):
        parser.add_argument(flag, default=default, help=f"of {flag}")
    parser.add_argument("--switch", action="store_true", help="of --switch")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    said = capsys.readouterr().out
    assert "none (default: 0)" in said and "nought (default: 0.0)" in said and "a share (default: 1/1)" in said
    assert said.count("(default: ") == 3
