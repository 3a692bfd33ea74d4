"""The table of folds: who is in which, what is left out, what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from common.errors import UserError
from preprocessing import generate_folds


def run_folds(root, *extra):
    return generate_folds.main(["--root-dir", str(root), "--out", str(root / "folds.csv"), *extra])


def test_real_videos_alone_need_a_word(root):
    metadata = root / "dfdc_train_part_3" / "metadata.json"
    for path in (root / "dfdc_train_part_0" / "metadata.json", metadata):
        entries = {name: entry for name, entry in json.loads(path.read_text()).items() if entry["label"] == "REAL"}
        path.write_text(json.dumps(entries))
    with pytest.raises(UserError, match="--with-unpaired"):
        run_folds(root)


@pytest.mark.parametrize(("part", "fold"), [(0, 0), (2, 0), (3, 1), (44, 14), (45, 15), (48, 15), (49, 15)])
def test_fold_comes_from_the_part_number(part, fold):
    from preprocessing.data_root import Video

    assert generate_folds.fold_of(Video("a", Path("a.mp4"), f"dfdc_train_part_{part}", "REAL")) == fold


def test_parts_without_a_number_spread_over_the_folds():
    from preprocessing.data_root import Video

    folds = {generate_folds.fold_of(Video(str(n), Path("a"), "train_sample_videos", "REAL")) for n in range(300)}
    assert folds == set(range(16))


def test_fold_table_with_one_fold_is_refused_and_names_the_parts(processed, tmp_path):
    root = shutil.copytree(processed, tmp_path / "root")
    shutil.rmtree(root / "dfdc_train_part_3")
    (root / "folds.csv").unlink()
    with pytest.raises(UserError, match="parts found: dfdc_train_part_0, dfdc_train_part_1"):
        run_folds(root)
    assert not (root / "folds.csv").exists()
    assert run_folds(root, "--allow-empty") == 0


def test_videos_without_crops_are_counted(processed, tmp_path, capsys):
    root = shutil.copytree(processed, tmp_path / "root")
    run_folds(root)
    assert "no crops of" not in capsys.readouterr().out
    (root / "crops" / "519").rename(root / "crops" / ".519")
    run_folds(root)
    assert "; no crops of 1 of " in capsys.readouterr().out


def test_rows_are_shuffled_by_the_seed(processed, tmp_path):
    root = shutil.copytree(processed, tmp_path / "root")
    contents = []
    for seed in ("777", "777", "1"):
        run_folds(root, "--seed", seed)
        contents.append((root / "folds.csv").read_text())
    assert contents[0] == contents[1] == (processed / "folds.csv").read_text()
    assert contents[0] != contents[2] and sorted(contents[0]) == sorted(contents[2])


def test_real_videos_without_a_fake_join_only_if_asked(processed, tmp_path):
    root = shutil.copytree(processed, tmp_path / "root")
    shutil.copytree(root / "crops" / "004", root / "crops" / "fvkanshbie", dirs_exist_ok=True)
    run_folds(root)
    assert "fvkanshbie" not in (root / "folds.csv").read_text()
    run_folds(root, "--with-unpaired")
    assert (root / "folds.csv").read_text().count("fvkanshbie,") == 6  # as video and as original
