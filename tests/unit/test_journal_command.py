"""``weir journal``: damage is found, told, and taken out without moving another record."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from journals import new_journal, put_segments, read_all, run_python
from mlflow_weir.errors import JournalCorrupt, JournalError, LeaseLost
from mlflow_weir.plugin.cli import main
from mlflow_weir.plugin.journal.format import frame, list_segments, segment_name, void
from mlflow_weir.plugin.journal.reader import JournalReader
from mlflow_weir.plugin.journal.salvage import Damage, check, salvage
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.plugin.journal.writer import Journal

FRAMES = [frame(b"point %d" % n + b"x" * n) for n in range(8)]
PAYLOADS = [one[8:] for one in FRAMES]


def weir(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["journal", *map(str, words)])


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x20
    path.write_bytes(content)


def offset_of(n: int) -> int:
    return sum(map(len, FRAMES[:n]))


def test_a_whole_journal_is_well(tmp_path: Path) -> None:
    folder = put_segments(tmp_path / "j", b"".join(FRAMES[:3]), b"".join(FRAMES[3:]))
    found = check(folder)
    assert (found.n_records, found.start, found.end, found.damages) == (8, 0, offset_of(8), [])
    (folder / segment_name(0)).unlink()  # delivered
    found = check(folder)
    assert (found.n_records, found.start, found.end) == (5, offset_of(3), offset_of(8))


def test_a_torn_tail_is_told_and_is_no_damage(tmp_path: Path) -> None:
    folder = put_segments(tmp_path / "j", b"".join(FRAMES) + FRAMES[0][:-2])
    found = check(folder)
    assert (found.n_torn_bytes, found.damages, found.end) == (len(FRAMES[0]) - 2, [], offset_of(8))
    assert salvage(folder) == found
    assert sorted(os.listdir(folder)) == [segment_name(0), "owner.lock"]


@pytest.mark.parametrize("bad", range(7))
def test_salvage_keeps_every_other_record_in_its_place(tmp_path: Path, bad: int) -> None:
    folder = put_segments(tmp_path / "j", b"".join(FRAMES))
    for byte in range(len(FRAMES[bad])):
        path = folder / segment_name(0)
        path.write_bytes(b"".join(FRAMES))
        path.with_name(f"{path.name}.bad").unlink(missing_ok=True)
        flip(path, offset_of(bad) + byte)
        damaged = path.read_bytes()
        found = salvage(folder)
        assert found.damages == [Damage(path.name, offset_of(bad), len(FRAMES[bad]))]
        assert read_all(folder) == PAYLOADS[:bad] + PAYLOADS[bad + 1 :]
        reader = JournalReader(folder, offset_of(bad))
        assert reader.read(1).payloads == PAYLOADS[bad + 1 : bad + 2]
        assert reader.position == offset_of(bad + 2)
        reader.close()
        assert path.with_name(f"{path.name}.bad").read_bytes() == damaged
        assert check(folder).damages == []


def test_salvage_of_several_damages_and_a_cut_segment(tmp_path: Path) -> None:
    folder = put_segments(tmp_path / "j", b"".join(FRAMES[:4]), b"".join(FRAMES[4:]))
    flip(folder / segment_name(0), offset_of(1) + 9)
    with (folder / segment_name(0)).open("r+b") as file:
        file.truncate(offset_of(3) + 4)
    flip(folder / segment_name(offset_of(4)), 0)
    found = salvage(folder)
    assert [d.offset for d in found.damages] == [offset_of(1), offset_of(3), 0]
    assert found.damages[1].size_bytes == len(FRAMES[3])
    assert read_all(folder) == [PAYLOADS[n] for n in (0, 2, 5, 6, 7)]


def test_a_segment_that_is_missing_is_passed_over(tmp_path: Path) -> None:
    folder = put_segments(tmp_path / "j", FRAMES[0], FRAMES[1] + FRAMES[2], FRAMES[3])
    (folder / segment_name(offset_of(1))).unlink()
    with pytest.raises(JournalCorrupt):
        read_all(folder)
    salvage(folder)
    assert read_all(folder) == [PAYLOADS[0], PAYLOADS[3]]


def test_a_name_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    folder = put_segments(tmp_path / "j", FRAMES[0])
    (folder / ("9" * 20 + ".seg")).touch()
    for look in (check, salvage):
        with pytest.raises(JournalError, match="segments are missing"):
            look(folder)
    assert list_segments(folder) == [0, int("9" * 20)]


def test_a_void_is_no_record_and_checked_as_one(tmp_path: Path) -> None:
    for size in (8, 9, 100):
        folder = put_segments(tmp_path / "j", FRAMES[0] + void(size) + FRAMES[1] + void(size))
        assert read_all(folder) == PAYLOADS[:2]
        for byte in range(size):
            path = folder / segment_name(0)
            content = path.read_bytes()
            flip(path, len(FRAMES[0]) + byte)
            with pytest.raises(JournalCorrupt):
                read_all(folder)
            path.write_bytes(content)


# The command


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for _ in range(2):
        journal = new_journal(tmp_path / "spool")
        for payload in PAYLOADS:
            journal.append(payload)
        journal.close()
    return tmp_path / "spool"


def test_check_and_salvage_of_a_spool(spool: Path) -> None:
    found = weir("check", spool)
    assert (found.exit_code, found.output.count("8 records, all well")) == (0, 2)
    broken = min((spool / "journals").iterdir())
    flip(broken / segment_name(0), offset_of(2))
    found = weir("check", spool)
    assert found.exit_code == 1
    assert f"{broken}: 7 records, 1 damages\n" in found.output
    assert f"{segment_name(0)}: {len(FRAMES[2])} bad bytes at {offset_of(2)}\n" in found.output
    found = weir("salvage", broken)
    assert found.exit_code == 0
    assert "kept as .seg.bad" in found.output
    assert weir("check", spool).exit_code == 0
    assert len(read_all(broken)) == 7


def test_reports_as_json(spool: Path) -> None:
    (report, _) = json.loads(weir("check", spool, "--json").output)
    assert report["n_records"] == 8
    assert report["damages"] == []


def test_without_a_path_it_is_this_user_s_spool(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_SPOOL", str(spool))
    assert weir("check").output.count("all well") == 2
    monkeypatch.setenv("WEIR_SPOOL", str(spool.parent / "new"))
    assert weir("check").output == "no journals\n"


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    found = weir("check", tmp_path)
    assert found.exit_code == 1
    assert found.output == f"Error: {tmp_path}: neither a journal nor a spool (check the path)\n"


def test_a_journal_in_use_is_checked_and_not_salvaged(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.append(b"a")
    assert weir("check", journal.folder).exit_code == 0
    code = """
import sys
from mlflow_weir.plugin.cli import main
main(["journal", "salvage", sys.argv[1]], standalone_mode=False)
"""
    with pytest.raises(AssertionError, match="another process owns this journal"):
        run_python(code, str(journal.folder))
    with pytest.raises(LeaseLost):
        salvage(journal.folder)
    journal.append(b"b")
    assert read_all(journal.folder) == [b"a", b"b"]
    journal.close()
    assert Journal.adopt(JournalFolder(journal.folder)).end == journal.end
