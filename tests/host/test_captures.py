"""What a run gains from capture, as a user sees it: a script that knows nothing of Weir."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import load_text

from agents import wait_until
from databases import put_mlflow_tables
from mlflow_weir.plugin import captures, exits
from mlflow_weir.plugin.agent import client as agent
from mlflow_weir.plugin.journal.spool import Spool

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("agent")]

TOKEN = "ghp_" + "aB3" * 12
TRAIN = """
import mlflow, sys
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1)
print(run.info.run_id)
"""


class Project:
    """A git repository with a training script, and a store and a spool of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.spool = folder / "project", folder / "spool"
        self.uri = f"weir://{folder}/store"
        self.exit_code = 0
        self.folder.mkdir()
        put_mlflow_tables(folder / "store" / "weir.db")
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", f"https://me:{TOKEN}@example.com/team/project.git")
        (self.folder / "train.py").write_text(TRAIN)
        self.git("add", "train.py")
        self.git("-c", "user.name=me", "-c", "user.email=m@e", "commit", "-q", "-m", "one")

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def train(self, *arguments: str, script: str = "", **variables: str) -> tuple[list[str], str]:
        """Run the script to its end; return the lines it printed, and what went to stderr."""
        if script:
            (self.folder / "train.py").write_text(script)
        done = subprocess.run(
            [sys.executable, "train.py", *arguments],
            cwd=self.folder,
            env={
                **{name: value for name, value in os.environ.items() if name != "WEIR_CAPTURE"},
                "MLFLOW_TRACKING_URI": self.uri,
                "WEIR_SPOOL": str(self.spool),
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == self.exit_code, done.stderr
        wait_until(lambda: not Spool(self.spool).journals(), "all is delivered", 120)
        return done.stdout.splitlines(), done.stderr

    def tags(self, run_id: str) -> dict[str, str]:
        tags: dict[str, str] = MlflowClient(self.uri).get_run(run_id).data.tags
        return {name: value for name, value in tags.items() if name.startswith("weir.")}

    def files(self, run_id: str) -> dict[str, str]:
        client = MlflowClient(self.uri)
        root = client.get_run(run_id).info.artifact_uri
        below = [client.list_artifacts(run_id, folder) for folder in ("weir", "weir/git")]
        paths = [one.path for listed in below for one in listed if not one.is_dir]
        return {path: load_text(f"{root}/{path}") for path in paths}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("WEIR_CLIENT", "off")  # for what the test itself reads
    project = Project(tmp_path)
    monkeypatch.setenv("WEIR_AGENT_IDLE_SECONDS", "5")
    return project


@pytest.fixture(autouse=True)
def ended_agent(tmp_path: Path) -> object:
    yield
    agent.nudge(tmp_path / "spool", agent.STOP)


def test_a_run_gains_its_commit_patch_and_environment(project: Project) -> None:
    (project.folder / "train.py").write_text(f'{TRAIN}KEY = "{TOKEN}"\n')
    (project.folder / "notes.txt").write_text("mine")
    lines, err = project.train(
        "--lr", "0.1", "--api-key", "hunter2hunter2",
        WEIR_CLIENT="auto", WANDB_API_KEY=TOKEN, SLURM_JOB_ID="77", WEIR_CAPTURE_HARDWARE="off",
    )  # fmt: skip
    run_id = lines[-1]
    tags, files = project.tags(run_id), project.files(run_id)
    assert tags.pop("weir.host")
    assert tags.pop("weir.python") == ".".join(map(str, sys.version_info[:3]))
    # Packages that are installed in editable mode here have repositories and patches, too.
    tags.pop("weir.git.repositories", "")
    assert tags.pop("weir.redacted") == "2"  # in the patch and in the command line
    assert tags == {
        "weir.git.commit": project.git("rev-parse", "HEAD"),
        "weir.git.branch": "main",
        "weir.git.dirty": "true",
        "weir.git.remote": "https://example.com/team/project.git",
        "weir.git.untracked": "1",
    }
    assert {name for name in files if "/repositories/" not in name} == {
        "weir/environment.json",
        "weir/requirements.txt",
        "weir/git/diff.patch",
        "weir/git/state.json",
        "weir/git/untracked.txt",
    }
    assert '+KEY = "[redacted]"' in files["weir/git/diff.patch"]
    assert files["weir/git/untracked.txt"] == "notes.txt\n"
    environment = json.loads(files["weir/environment.json"])
    assert environment["argv"][1:] == ["train.py", "--lr", "0.1", "--api-key", "[redacted]"]
    assert environment["variables"]["SLURM_JOB_ID"] == "77"
    assert "mlflow==" in files["weir/requirements.txt"]
    everything = f"{tags}{files}{err}"
    assert TOKEN not in everything
    assert "hunter2" not in everything
    assert [line for line in err.splitlines() if line.startswith("weir:")] == [
        line for line in err.splitlines() if line.startswith("weir: run ")
    ]


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"WEIR_CAPTURE": "off"}, set()),
        pytest.param(
            {
                "WEIR_CAPTURE_GIT": "off",
                "WEIR_CAPTURE_ENVIRONMENT": "off",
                "WEIR_CAPTURE_HARDWARE": "off",
            },
            set(),
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"WEIR_CAPTURE_ENVIRONMENT": "off"},
            {"weir/git/state.json", "weir/hardware.json"},
            marks=pytest.mark.long,
        ),
        (
            {"WEIR_CAPTURE_GIT": "off", "WEIR_CAPTURE_HARDWARE": "off"},
            {"weir/environment.json", "weir/requirements.txt"},
        ),
    ],
)
def test_each_capture_has_a_switch(
    variables: dict[str, str], names: set[str], project: Project
) -> None:
    lines, _ = project.train(WEIR_CLIENT="auto", **variables)
    assert set(project.files(lines[-1])) == names
    if not names:
        assert project.tags(lines[-1]) == {}


def test_modules_of_the_working_folder_are_not_taken_for_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("platform", "bz2"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    found = captures._Capture(None)
    found.run(frozenset({"environment"}))
    try:
        assert found.tags["weir.host"]
        environment = json.loads(Path(found.files["environment.json"]).read_text())
        assert environment["working_directory"] == str(tmp_path)
    finally:
        found.close()


def test_runs_of_one_moment_share_a_capture_and_nested_ones_have_it_too(project: Project) -> None:
    lines, _ = project.train(
        script="""
import mlflow
with mlflow.start_run() as parent:
    for _ in range(5):
        with mlflow.start_run(nested=True) as child:
            print(child.info.run_id)
print(parent.info.run_id)
""",
        WEIR_CLIENT="auto",
    )
    assert len(lines) == 6
    commits = {project.tags(run_id)["weir.git.commit"] for run_id in lines}
    assert commits == {project.git("rev-parse", "HEAD")}
    assert all("weir/git/diff.patch" in project.files(run_id) for run_id in lines)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_run_that_a_launcher_began_is_captured_where_it_trains(
    rank: str, project: Project
) -> None:
    lines, _ = project.train(
        script="""
import mlflow, os, subprocess, sys
if len(sys.argv) == 1:
    os.environ["MLFLOW_RUN_ID"] = mlflow.MlflowClient().create_run("0").info.run_id
    subprocess.run([sys.executable, "train.py", "--worker"], check=True)
else:
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    print(run.info.run_id)
    with mlflow.start_run() as own:
        pass
    with mlflow.start_run(run_id=own.info.run_id):
        mlflow.set_tag("resumed", "1")
    print(own.info.run_id)
""",
        WEIR_CLIENT="auto",
        WEIR_CAPTURE_HARDWARE="off",
        WEIR_CAPTURE_CONSOLE="off",
        RANK=rank,
    )
    launched, own = lines
    assert project.tags(own)["weir.git.branch"] == "main"
    if rank == "1":
        assert "weir.host" not in project.tags(launched)
        return
    assert project.tags(launched)["weir.git.commit"] == project.git("rev-parse", "HEAD")
    files = project.files(launched)
    assert {"weir/git/diff.patch", "weir/environment.json"} <= set(files)
    argv = json.loads(files["weir/environment.json"])["argv"]
    assert argv[1:] == ["train.py", "--worker"]


def test_a_run_begins_and_is_delivered_beside_a_git_that_hangs(project: Project) -> None:
    lines, _ = project.train(
        script="""
import os, subprocess, time
import mlflow
mlflow.set_experiment("first")
filter = "echo $$ > ../filter.pid; exec sleep 3600"
subprocess.run(["git", "config", "filter.slow.clean", filter], check=True)
open(".gitattributes", "w").write("*.slow filter=slow\\n")
open("a.slow", "w").write("old")
subprocess.run(["git", "-c", "filter.slow.clean=cat", "add", "a.slow"], check=True)
open("a.slow", "w").write("changed, and longer")
with mlflow.start_run() as run:
    pass
import mlflow_weir
mlflow_weir.finish()
print(run.info.run_id)
""",
        WEIR_CLIENT="auto",
    )
    run_id = lines[-1]
    assert project.tags(run_id)["weir.git.branch"] == "main"
    pid = int((project.folder.parent / "filter.pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "what git waited for is ended, too")


CRASH = """
import mlflow, sys
print(mlflow.start_run().info.run_id, flush=True)
def connect(address, api_key):
    raise ConnectionError(f"no answer: {address}")
if sys.argv[1] == "raise":
    connect("postgresql://me:TOKEN@db.example.com/runs", api_key="hunter2hunter2")
sys.exit("refused: password=hunter2hunter2 token TOKEN")
""".replace("TOKEN", TOKEN)


@pytest.mark.parametrize("how", ["raise", "exit"])
def test_how_a_run_ended_is_said_without_the_secrets(how: str, project: Project) -> None:
    project.exit_code = 1
    (project.folder / "train.py").write_text(CRASH)
    lines, _ = project.train(
        how, WEIR_CLIENT="auto", WEIR_CAPTURE_GIT="off", WEIR_CAPTURE_HARDWARE="off",
        WEIR_CAPTURE_ENVIRONMENT="off",
    )  # fmt: skip
    tags = project.tags(lines[0])
    said = tags["weir.exit_cause"] + tags["weir.exit_traceback"]
    assert TOKEN not in said
    assert "hunter2" not in said
    if how == "raise":
        assert tags["weir.exit_cause"].startswith("uncaught ConnectionError: no answer: ")
        assert "in connect" in said
    assert said.count("[redacted]") >= 2
    assert int(tags["weir.redacted"]) >= 2


@pytest.mark.parametrize(
    "variables", [{"WEIR_CAPTURE": "off"}, {"WEIR_CAPTURE_CONSOLE": "off"}, {"WEIR_REDACT": "("}]
)
def test_a_traceback_has_the_switch_of_the_console(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WEIR_CAPTURE", "WEIR_CAPTURE_CONSOLE", "WEIR_REDACT"):
        monkeypatch.delenv(name, raising=False)
    cause = exits.Cause("FAILED", "uncaught ValueError: of x", "Traceback ... of x")
    assert exits._redacted(cause) == cause
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = exits._redacted(cause)
    assert (found.text, found.details) == (
        "uncaught ValueError" if "WEIR_REDACT" in variables else cause.text,
        "",
    )


def test_a_setting_that_cannot_work_is_one_line_and_captures_nothing(project: Project) -> None:
    lines, err = project.train(WEIR_CLIENT="auto", WEIR_REDACT="(", WEIR_CAPTURE_GIT="perhaps")
    assert project.tags(lines[-1]) == {}
    assert err.count("nothing is captured: WEIR_REDACT='('") == 1
    assert "Traceback" not in err


def test_a_killed_training_leaves_no_captured_files_behind(
    project: Project, tmp_path: Path
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (project.folder / "train.py").write_text(
        "import mlflow, mlflow_weir, os\nmlflow.start_run()\nmlflow_weir.finish()\nos.abort()\n"
    )
    names = {"WEIR_CAPTURE", "WEIR_CLIENT"}
    variables = {name: value for name, value in os.environ.items() if name not in names}
    subprocess.run(
        [sys.executable, "train.py"],
        cwd=project.folder,
        env={
            **variables,
            "MLFLOW_TRACKING_URI": project.uri,
            "WEIR_SPOOL": str(project.spool),
            "TMPDIR": str(temporary),
        },
        check=False,
        capture_output=True,
        timeout=300,
    )
    wait_until(lambda: not Spool(project.spool).journals(), "all is delivered", 120)
    (run,) = MlflowClient(project.uri).search_runs(["0"])
    assert "weir/git/diff.patch" in project.files(run.info.run_id)
    assert not list(temporary.glob("*capture*"))
    assert not list(project.spool.rglob(".capture*"))
