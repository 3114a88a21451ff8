"""The spool: where it is, who may look into it, and what it makes of files from elsewhere."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journals import SECRETS, TARGET, new_journal, run_python
from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, JournalError, JournalFull
from mlflow_weir.plugin.journal import spool as spool_module
from mlflow_weir.plugin.journal.header import start_ticks
from mlflow_weir.plugin.journal.spool import (
    Delivered,
    Header,
    JournalFolder,
    Spool,
)
from mlflow_weir.plugin.journal.writer import Journal

is_root = os.geteuid() == 0


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_warned", set())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the process a home of its own, and no other default."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_STATE_HOME", "WEIR_SPOOL"):
        monkeypatch.delenv(name, raising=False)
    return home


def local(path: Path) -> str:
    return "ext4"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Where


def test_the_default_is_the_home_s_state_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Spool.open().root == home / ".local" / "state" / "weir"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert Spool.open().root == home / ".local" / "state" / "weir"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    assert Spool.open().root == home / "state" / "weir"


def test_weir_spool_names_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_SPOOL", "~/deep/spool")
    assert Spool.open().root == home / "deep" / "spool"


@pytest.mark.parametrize("trouble", ["no home", "a file", "a link", "others may write", "nfs"])
def test_a_home_that_cannot_hold_it_is_passed_over(
    home: Path, trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(spool_module, "_VAR_TMP", tmp_path)
    state = home / ".local" / "state" / "weir"
    kind: Callable[[Path], str] = local
    if trouble == "no home":
        monkeypatch.setenv("HOME", "/proc/nowhere")
    elif trouble == "a file":
        (home / ".local").touch()
    else:
        state.parent.mkdir(parents=True)
    if trouble == "a link":
        (home / "elsewhere").mkdir()
        state.symlink_to(home / "elsewhere")
    elif trouble == "others may write":
        state.mkdir()
        state.chmod(0o777)
    elif trouble == "nfs":
        kind = lambda path: "nfs4" if home in path.parents else "ext4"  # noqa: E731
    found = Spool.open(file_system_of=kind)
    assert found.root == tmp_path / f"weir-{os.geteuid()}"
    assert mode(found.root) == 0o700


def test_a_network_file_system_is_warned_of_once_and_a_local_folder_used(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEIR_SPOOL", str(home / "nfs" / "spool"))

    def kind(path: Path) -> str:
        return "nfs4" if "nfs" in path.parts else "ext4"

    for _ in range(3):
        assert Spool.open(file_system_of=kind).root == home / ".local" / "state" / "weir"
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "is on a network file system (nfs4): using a local folder" in record.getMessage()
    assert not (home / "nfs").exists()


def test_no_folder_at_all_is_one_error_with_every_reason(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"no folder for the spool: .*home.*weir.*network"):
        Spool.open(file_system_of=lambda path: "nfs")


# Whose


def test_everything_is_its_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = new_journal(tmp_path / "spool")
        JournalFolder(journal.folder).write_delivered(Delivered())
    finally:
        os.umask(before)
    found = {path: mode(path) for path in (tmp_path / "spool").rglob("*")}
    assert len(found) >= 8
    assert {m for path, m in found.items() if path.is_dir()} == {0o700}
    assert {m for path, m in found.items() if path.is_file()} == {0o600}
    assert mode(tmp_path / "spool") == 0o700


@pytest.mark.parametrize("part", ["", "agent", "journals"])
def test_a_link_is_refused(tmp_path: Path, part: str) -> None:
    Spool.open(tmp_path / "spool")
    path = tmp_path / "spool" / part if part else tmp_path / "spool"
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(ConfigError, match="a symbolic link"):
        Spool.open(tmp_path / "spool")


@pytest.mark.skipif(not is_root, reason="needs root to give a folder away")
@pytest.mark.parametrize("part", ["", "agent", "journals"])
def test_another_user_s_folder_is_refused(tmp_path: Path, part: str) -> None:
    Spool.open(tmp_path / "spool")
    os.chown(tmp_path / "spool" / part, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        Spool.open(tmp_path / "spool")


def test_a_root_that_others_may_write_is_refused_and_inside_nobody_reads(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    Spool.open(root)
    for part in ("agent", "journals"):
        (root / part).chmod(0o777)
    root.chmod(0o755)
    Spool.open(root)
    assert [mode(root / part) for part in ("agent", "journals")] == [0o700, 0o700]
    assert mode(root) == 0o755, "a folder that somebody named keeps its mode"
    for loose in (0o775, 0o757):
        root.chmod(loose)
        with pytest.raises(ConfigError, match="other users may write it"):
            Spool.open(root)


def test_what_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=str(path)):
            Spool.open(path)


# Journals in it


def test_a_journal_appears_complete(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    assert sorted(os.listdir(journal.folder)) == [
        "0" * 20 + ".seg",
        "credentials.json",
        "files",
        "header.json",
        "owner.lock",
        "reserve",
    ]
    (folder,) = Spool(tmp_path / "spool").journals()
    assert folder.path == journal.folder
    header = folder.header()
    assert header == Header(
        journal_id=journal.journal_id,
        target=TARGET,
        created_ms=header.created_ms,
        host=os.uname().nodename,
        node=os.uname().nodename,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        pid=os.getpid(),
        pid_start_ticks=start_ticks(os.getpid()),
        program=header.program,
    )
    assert abs(header.created_ms / 1000 - time.time()) < 60
    assert header.pid_start_ticks > 0
    assert folder.credentials() == SECRETS
    assert folder.delivered() == Delivered()


def test_secrets_are_in_one_file_and_gone_with_the_journal(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.append(b"a")
    holding = [
        p.name for p in journal.folder.rglob("*") if p.is_file() and b"SECRET" in p.read_bytes()
    ]
    assert holding == ["credentials.json"]
    assert "SECRET" not in repr(JournalFolder(journal.folder).credentials())
    journal.close()
    JournalFolder(journal.folder).remove()
    assert list((tmp_path / "spool" / "journals").iterdir()) == []
    JournalFolder(journal.folder).remove()  # again: gone is gone


def test_links_and_others_folders_are_no_journals(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool")
    journals = tmp_path / "spool" / "journals"
    (tmp_path / "outside").mkdir()
    (journals / ("a" * 32)).symlink_to(tmp_path / "outside")
    (journals / ("b" * 32)).touch()
    for name in ("A" * 32, "c" * 31, "..c" + "c" * 29, ".new-" + "c" * 32):
        (journals / name).mkdir()
    if is_root:
        (journals / ("d" * 32)).mkdir()
        os.chown(journals / ("d" * 32), 12345, 12345)
    (journals / ("e" * 32)).mkdir()
    assert [folder.path.name for folder in spool.journals()] == ["e" * 32]


def test_a_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool.open(tmp_path / "spool")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlflow_weir.plugin.journal.building.write_private", full)
    with pytest.raises(JournalFull, match="No space left on device"):
        Journal.create(spool, TARGET, None)
    assert os.listdir(tmp_path / "spool" / "journals") == []


def test_sweep_removes_what_was_left_half_way(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    journals = journal.folder.parent
    for name in (".gone-a", ".new-young", ".new-old"):
        (journals / name).mkdir()
        (journals / name / "file").touch()
    (tmp_path / "outside").mkdir()
    (journals / ".gone-link").symlink_to(tmp_path / "outside")
    old = time.time() - 3600
    os.utime(journals / ".new-old", (old, old))
    os.utime(journal.folder, (old, old))
    being_made = journals / ".new-alive"
    shutil.copytree(journal.folder, being_made)
    (being_made / "owner.lock").unlink()
    os.link(journal.folder / "owner.lock", being_made / "owner.lock")
    os.utime(being_made, (old, old))
    Spool(tmp_path / "spool").sweep()
    assert sorted(os.listdir(journals)) == [
        ".gone-link",
        ".new-alive",
        ".new-young",
        journal.journal_id,
    ]


def test_usage_counts_journals_and_artifacts(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    spool = Spool(tmp_path / "spool")
    before = spool.usage_bytes()
    (journal.folder / "files" / "a" / "b").mkdir(parents=True)
    (journal.folder / "files" / "a" / "b" / "c").write_bytes(bytes(1000))
    (journal.folder / "files" / "link").symlink_to("/usr/bin")
    journal.append(bytes(992))
    assert 2000 <= spool.usage_bytes() - before < 2020


def test_delivered_is_replaced_whole_and_kept_short(tmp_path: Path) -> None:
    folder = JournalFolder(new_journal(tmp_path / "spool").folder)
    rejected = [{"what": f"run {n}", "reason": "unknown \ud800 run"} for n in range(250)]
    delivered = Delivered(
        position=7,
        at_ms=8,
        n_records=9,
        n_points=10,
        n_rejected=250,
        rejected=rejected,
        error="database is locked",
        error_at_ms=11,
        aliases={"local-1": "17"},
        open_runs={"r": "fluent"},
    )
    folder.write_delivered(delivered)
    found = folder.delivered()
    assert found.rejected == rejected[150:]
    assert found.position == 7
    assert found == Delivered(**{**vars(delivered), "rejected": rejected[150:]})
    folder.remove()
    with pytest.raises(JournalError, match="No such file"):
        folder.write_delivered(delivered)


# What comes from elsewhere


def tampered(folder: JournalFolder, name: str, **fields: Any) -> None:
    path = folder.path / name
    record = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**record, **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, r"format 2, this version reads 1 \(use the release"),
        ({"format": None}, "format None"),
        ({"journal_id": "../../../../etc"}, "is not 32 hex digits"),
        ({"journal_id": "A" * 32}, "is not 32 hex digits"),
        ({"journal_id": 5}, "journal_id is 5"),
        ({"target": "sql"}, "target is 'sql'"),
        ({"target": {"kind": "file", "uri": "/etc"}}, "target kind 'file'"),
        ({"target": {"kind": "sql"}}, "uri is None"),
        ({"pid": "1"}, "pid is '1'"),
        ({"pid": True}, "pid is True"),
        ({"created_ms": 1.5}, "created_ms is 1.5"),
        ({"host": None}, "host is None"),
    ],
)
def test_a_header_from_elsewhere_is_checked(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    folder = JournalFolder(new_journal(tmp_path / "spool").folder)
    tampered(folder, "header.json", **fields)
    with pytest.raises(JournalError, match=message):
        folder.header()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"position": "7"}, "position is '7'"),
        ({"rejected": [{"what": 5}]}, "rejected holds"),
        ({"rejected": [5]}, "rejected holds 5"),
        ({"aliases": {"a": 5}}, r"aliases\['a'\] is not text"),
        ({"open_runs": []}, "open_runs is"),
    ],
)
def test_what_is_delivered_is_checked(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    folder = JournalFolder(new_journal(tmp_path / "spool").folder)
    folder.write_delivered(Delivered())
    tampered(folder, "delivered.json", **fields)
    with pytest.raises(JournalError, match=message):
        folder.delivered()


def test_credentials_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    folder = JournalFolder(new_journal(tmp_path / "spool").folder)
    (folder.path / "credentials.json").chmod(0o640)
    with pytest.raises(JournalError, match="others may read it"):
        folder.credentials()
    (folder.path / "credentials.json").unlink()
    assert folder.credentials() is None


def as_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_large(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate((16 << 20) + 1)


def as_text(path: Path) -> None:
    path.write_text("[" * 100_000)


def as_list(path: Path) -> None:
    path.write_text("[]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (as_link, "Too many levels of symbolic links"),
        (as_pipe, "not a regular file"),
        (as_large, "larger than 16 MiB"),
        (as_text, "not JSON"),
        (as_list, "not a JSON object"),
        (Path.unlink, "is this a journal's folder"),
    ],
)
def test_a_header_that_is_no_plain_small_file_is_refused(
    tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    folder = JournalFolder(new_journal(tmp_path / "spool").folder)
    change(folder.path / "header.json")
    with pytest.raises(JournalError, match=message):
        folder.header()


def test_the_lock_file_is_not_followed_either(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.close()
    (tmp_path / "outside").touch()
    (journal.folder / "owner.lock").unlink()
    (journal.folder / "owner.lock").symlink_to(tmp_path / "outside")
    with pytest.raises(JournalError, match="symbolic links"):
        Journal.adopt(JournalFolder(journal.folder))
    with pytest.raises(JournalError, match="symbolic links"):
        JournalFolder(journal.folder).owner_is_gone()
    (journal.folder / "owner.lock").unlink()
    assert JournalFolder(journal.folder).owner_is_gone()


def test_removal_does_not_follow_links(tmp_path: Path) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.close()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (journal.folder / "files" / "link").symlink_to(tmp_path / "outside")
    JournalFolder(journal.folder).remove()
    assert (tmp_path / "outside" / "file").exists()


# Layers, settings


def test_the_journal_needs_the_standard_library_alone() -> None:
    code = """
import sys
before = set(sys.modules)
import mlflow_weir.plugin.journal.writer, mlflow_weir.plugin.journal.reader
found = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(found - sys.stdlib_module_names - {"mlflow_weir"}))
"""
    assert run_python(code) == "[]\n"


@pytest.mark.parametrize(
    ("text", "expected"), [("5", 5), (" 64MiB ", 64 << 20), ("2 gib", 2 << 30), ("1TiB", 1 << 40)]
)
def test_sizes(text: str, expected: int) -> None:
    assert settings.size_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5GiB", "5MB", "GiB", "5 5", "٣", "1e9", "9" * 30]
)
def test_sizes_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        settings.size_bytes(text)


def test_a_journal_is_removed_whole_while_somebody_else_removes_files_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = new_journal(tmp_path / "spool")
    journal.close()
    calls: list[Path] = []
    remove = shutil.rmtree

    def meet(path: Path) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise FileNotFoundError(path)
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", meet)
    JournalFolder(journal.folder).remove()
    assert not list(journal.folder.parent.iterdir())
