"""Places where credentials turn up: templates by language and by where, and the patch builder.

A template holds marks that fill() replaces: @V@ the value; @N@ @n@ @c@ @k@ its name in
UPPER_SNAKE, lower_snake, camelCase and kebab-case; @H1@ @H2@ the halves; @P@ @R@ the first four
signs and the rest; @B64@ @URL@ @JSON@ the value encoded.
"""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

from corpora import values as make

Item = dict[str, Any]

# Lines of a file, by language: (file names, lines before, lines after, templates of the slot).
PY = [
    '@N@ = "@V@"',
    'os.environ["@N@"] = "@V@"',
    '@n@ = os.getenv("@N@", "@V@")',
    'client = Client(@n@="@V@", timeout=30, retries=5)',
    "CONFIG = {\n    'epochs': 12,\n    '@n@': '@V@',\n}",
    "# TODO rotate before release, old value: @V@",
    'parser.add_argument("--@k@", type=str, default="@V@", help="see the wiki")',
    '@N@: str = r"@V@"  # noqa: S105',
    '@n@ = (\n    "@H1@"\n    "@H2@"\n)',
    '@N@ = "@H1@" \\\n    "@H2@"',
    '@n@ = "@H1@" + "@H2@"',
    '@n@ = base64.b64decode("@B64@").decode()',
    'URL = f"https://api.example.net/v2/models?@n@=@URL@&limit={LIMIT}"',
    'headers = {"Authorization": "Bearer @V@", "Accept": "application/json"}',
    "assert response.json()['@n@'] == '@V@'",
    'payload = json.loads(\'{"user": "trainer", "@n@": "@V@"}\')',
    '@n@ = """@V@"""',
    'logger.debug(f"{step}: @n@=@V@")',
]
YAML = [
    "@n@: @V@",
    'hub:\n  push: true\n  @n@: "@V@"',
    "env:\n  - name: @N@\n    value: '@V@'",
    "logging:\n  @c@: >-\n    @V@\n  level: info",
    'args: ["--epochs", "3", "--@k@", "@V@"]',
    "# @n@: @V@   (previous account)",
    "environment:\n  - @N@=@V@\n  - NCCL_DEBUG=INFO",
    "run: |\n  export @N@=@V@\n  python train.py",
]
JSON = [
    '  "@n@": "@JSON@",',
    '  "@c@": "@JSON@",',
    '  "remote": {"url": "https://api.example.net", "@k@": "@JSON@"},',
    '  "body": "{\\"model\\": \\"base\\", \\"@n@\\": \\"@V@\\"}",',
    '  "env": ["@N@=@JSON@", "NCCL_DEBUG=INFO"],',
]
SH = [
    "export @N@=@V@",
    'export @N@="@V@"',
    "@N@='@V@' python train.py --config base.yaml",
    "python train.py \\\n  --@k@ \\\n  '@V@' \\\n  --epochs 3",
    "export @N@=\\\n'@V@'",
    ': "${@N@:=@V@}"',
    "echo @B64@ | base64 -d > ~/.cache/trainer",
    'curl -sSf -H "Authorization: Bearer @V@" https://api.example.net/v1/runs',
    "#SBATCH --export=ALL,@N@=@V@",
    "docker run --gpus all -e @N@='@V@' trainer:latest",
]
OTHER: dict[str, list[str]] = {
    "pyproject.toml": ['@n@ = "@V@"', "[tool.trainer]\n\"@k@\" = '@V@'"],
    "settings.ini": ["@n@ = @V@", "[remote]\n@N@: @V@"],
    ".env": ["@N@=@V@", "@N@='@V@'", "#@N@=@V@"],
    "Dockerfile": ["ENV @N@=@V@", "ARG @N@='@V@'"],
    "README.md": ["Run with `@N@=@V@ make train`, ask Jo for a new one."],
    "web/client.ts": ["const @c@ = '@V@';", 'process.env.@N@ ||= "@V@";'],
    "src/remote.cpp": ['static const char* const k_@c@ = "@V@";'],
    "analysis.R": ['Sys.setenv(@N@ = "@V@")'],
    "Makefile": ["train:\n\t@N@=@V@ python train.py"],
    "conf/remote.xml": ["  <@c@>@V@</@c@>"],
    "infra/main.tf": ['variable "@n@" {\n  default = "@V@"\n}'],
}
CONSOLE = [
    "INFO:trainer.remote:connecting with @n@=@V@",
    '{"level": "info", "step": 1200, "@n@": "@JSON@", "msg": "resumed"}',
    "\rEpoch 3:  41%|####1     | 410/1000 [00:12<00:17, 33.1it/s, loss=0.412, @n@=@V@]",
    'Traceback (most recent call last):\n  File "train.py", line 88, in <module>\n'
    '    hub = Hub(@n@="@V@")\nConnectionError: timed out',
    "\x1b[32m2026-11-20 10:02:11\x1b[0m | \x1b[1mINFO\x1b[0m | @n@: \x1b[36m@V@\x1b[0m",
    'declare -x PATH="/usr/bin"\ndeclare -x @N@="@V@"\ndeclare -x SHLVL="1"',
    "+ export @N@=@V@\n+ python train.py",
    "{'lr': 0.001, '@n@': '@V@', 'seed': 7}",
    "Namespace(batch_size=32, @n@='@V@', lr=0.0003)",
    "trainer:\n  max_epochs: 3\n  @n@: @V@\n  precision: bf16",
    "\u2502 @n@ \u2502 @V@ \u2502",
    "> Authorization: Bearer @V@\n< HTTP/1.1 401 Unauthorized",
    'DEBUG urllib3 "GET /v1/me?@n@=@URL@&v=2 HTTP/1.1" 200 512',
    "requests.HTTPError: 401 Client Error for url: https://api.example.net/me?@n@=@URL@",
    "AuthenticationError: Incorrect API key provided: @V@.",
    'body: b\'{"@n@":"@JSON@"}\'',
    "    @n@ = '@V@'\n>   client.login(@n@)\nE   RuntimeError: refused",
    '            "Env": [\n                "@N@=@V@",\n                "A=1"\n            ],',
    "conf/env.sh:\x1b[01;31m\x1b[K@N@=\x1b[m\x1b[K@V@",
    "conf/env.sh:export @N@=\x1b[01;31m\x1b[K@P@\x1b[m\x1b[K@R@",
    "[rank0] @n@: @H1@\n        @H2@",
    "decoded config: @B64@",
    "Login with --@k@ @V@ to resume",
]
ARGV = [
    ["python", "train.py", "--@k@", "@V@", "--epochs", "3"],
    ["python", "-m", "trainer", "--lr=3e-4", "--@k@=@V@"],
    ["train.py", "model=base", "logger.@n@=@V@", "trainer.max_epochs=2"],
    ["env", "@N@=@V@", "torchrun", "--nproc_per_node=8", "train.py"],
    ["bash", "-c", "export @N@='@V@' && python train.py"],
    ["python", "-c", "import os; os.environ['@N@'] = '@V@'; import train"],
    ["train.py", "--config-json", '{"@n@": "@JSON@", "lr": 0.1}'],
    ["docker", "run", "--rm", "-e", "@N@=@V@", "trainer:1.2", "train"],
    ["srun", "--export=ALL,@N@=@V@", "python", "train.py"],
    ["curl", "-H", "Authorization: Bearer @V@", "https://api.example.net/v1"],
    ["train.py", "--callback", "https://ci.example.net/hook?@n@=@URL@&run=7"],
    ["java", "-D@c@=@V@", "-jar", "tool.jar"],
    ["train.py", "--opts", "SOLVER.LR", "0.1", "REMOTE.@N@", "@V@"],
    ["kubectl", "set", "env", "job/train", "@N@=@V@"],
    ["train.py", "--@n@", "@V@"],
    ["train.py", "+hub.@n@='@V@'", "seed=1"],
]
ENVIRONMENT = [
    "@N@=@V@",
    "TRAIN_CMD=python train.py --@k@ @V@ --epochs 3",
    'REMOTE_CONFIG={"url":"https://api.example.net","@n@":"@JSON@"}',
    "APP__REMOTE__@N@=@V@",
    "@n@=@V@",
    "CALLBACK_URL=https://ci.example.net/hook?@n@=@URL@",
    "@N@_B64=@B64@",
    "EXTRA_HEADERS=Accept: */*; Authorization: Bearer @V@",
]
NOTEBOOK = [
    "%env @N@=@V@",
    "!export @N@=@V@ && python train.py",
    "%%bash\nset -e\nexport @N@='@V@'\npython prepare.py",
    'import os\nos.environ["@N@"] = "@V@"',
    '@n@ = "@V@"  #@param {type:"string"}',
    'import trainer\ntrainer.login(@n@="@V@")',
    '!curl -s -H "Authorization: Bearer @V@" https://api.example.net/v1/me',
    "# @n@ = '@V@'\nclient = make_client()",
    'cfg = dict(lr=3e-4,\n           @n@="@V@",\n           seed=0)',
    '@n@ = ("@H1@"\n  + "@H2@")',
    "headers = {\n  'Accept': 'application/json',\n  'Authorization': f'Bearer @V@',\n}",
    "import base64\nkey = base64.b64decode(b'@B64@')  # @n@",
]
FILLER = {
    "py": "import math\nimport torch\n# helpers\nfrom pathlib import Path\nBATCH = 32\nLR = 3e-4\n"
    "def lr_at(step):\n    return LR * min(1, step / 100)\nSEEDS = [1, 2, 3]\nDATA = Path('data')",
    "yaml": "model: base\nseed: 7\n# schedule\nepochs: 3\nbatch_size: 64\nprecision: bf16",
    "json": '  "model": "base",\n  "seed": 7,\n  "epochs": 3,\n  "workers": 8,\n  "bf16": true,',
    "sh": "set -euo pipefail\n# training job\nmkdir -p logs\nmodule load cuda\nulimit -n 99\ndate",
    "": "# notes\n\n# see docs\n# end of section\n",
}
FILES = {
    "py": [
        "train.py",
        "src/remote.py",
        "conf/settings.py",
        "utils/hub.py",
        "tests/test_hub.py",
        "a.py",
    ],
    "yaml": ["conf/base.yaml", ".github/workflows/train.yml", "docker-compose.yml", "values.yaml"],
    "json": ["config.json", "conf/trainer.json", ".vscode/settings.json"],
    "sh": ["run.sh", "scripts/train.sh", "jobs/slurm.sbatch"],
}
MODES = ["add"] * 6 + ["new", "remove", "context", "context", "rotate", "header", "delete"]


def lines_of(rng: random.Random, language: str, count: int) -> list[str]:
    """Some ordinary lines of a language."""
    pool = FILLER[language].split("\n")
    start = rng.randrange(len(pool))
    return [pool[(start + i) % len(pool)] for i in range(count)]


def patch(rng: random.Random, file: str, slot: str, mode: str, other: str = "") -> Item:
    """Build the two sides of a file around a planted slot.

    Args:
        rng: The source of randomness.
        file: The file's path; its ending chooses the lines around.
        slot: The planted line or lines.
        mode: add, new, remove, delete, context, rotate (other replaces slot) or header (the slot
            is the last unindented line above the hunk, which git shows behind @@).
        other: The slot's second form for rotate.

    Returns:
        {"file", "before", "after"}; an empty side means that the file does not exist there.
    """
    ending = file.rsplit(".", 1)[-1]
    language = {"yml": "yaml", "sbatch": "sh"}.get(ending, ending)
    language = language if language in FILLER else ""
    head = lines_of(rng, language, rng.randint(0, 6))
    tail = lines_of(rng, language, rng.randint(1, 5))
    planted = [*head, *slot.split("\n"), *tail]
    note = f'  "note{rng.randint(10, 99)}": 1,' if language == "json" else "# checked again"
    sides: dict[str, tuple[list[str], list[str]]] = {
        "add": ([*head, *tail], planted),
        "new": ([], planted),
        "remove": (planted, [*head, *tail]),
        "delete": (planted, []),
        "context": (planted, [*head, *slot.split("\n"), note, *tail]),
        "rotate": (planted, [*head, *other.split("\n"), *tail]),
    }
    if mode == "header":
        gap = [f"    # {i}: step" for i in range(rng.randint(5, 8))]
        base = [*head, *slot.split("\n"), *gap]
        sides["header"] = ([*base, "    # old"], [*base, "    # new"])
    before, after = ("\n".join(side) + "\n" if side else "" for side in sides[mode])
    return {"file": file, "before": before, "after": after}


def fill(template: str, value: str, name: str) -> str:
    """Replace a template's marks; name comes in UPPER_SNAKE."""
    lower, half = name.lower(), len(value) // 2
    camel = "".join(p.title() if i else p for i, p in enumerate(lower.split("_")))
    marks = {
        "@V@": value,
        "@N@": name,
        "@n@": lower,
        "@c@": camel,
        "@k@": lower.replace("_", "-"),
        "@H1@": value[:half],
        "@H2@": value[half:],
        "@P@": value[:4],
        "@R@": value[4:],
        "@B64@": make.b64(value.encode()),
        "@URL@": quote(value, safe=""),
        "@JSON@": json.dumps(value)[1:-1].replace("/", "\\/"),
    }
    for mark, text in marks.items():
        template = template.replace(mark, text)
    return template


def secrets_of(template: str, value: str, secrets: list[str]) -> list[str]:
    """The forms of a secret that the template puts into its text, the raw ones first."""
    out = list(secrets)
    for secret in secrets:
        if "@H1@" in template:
            half = len(value) // 2
            out += [part for part in (value[:half], value[half:]) if len(part) >= 12]
        if "@R@" in template and secret == value:
            out.append(value[4:])
        if "@B64@" in template:
            out.append(make.b64(value.encode()))
        if "@URL@" in template:
            out.append(quote(secret, safe=""))
        if "@JSON@" in template:
            out.append(json.dumps(secret)[1:-1].replace("/", "\\/"))
    return list(dict.fromkeys(out))


def fits(template: str, value: str, named: bool, bearer: bool, whole: bool) -> bool:
    """Whether a template suits a value.

    Args:
        template: The template.
        value: The value to plant.
        named: The value tells nothing by itself: its name must stand near.
        bearer: The value may stand behind "Bearer".
        whole: The value must not be split (a URL with its secret inside).

    Returns:
        True if it suits.
    """
    if named and not any(m in template for m in ("@N@", "@n@", "@c@", "@k@", "Bearer")):
        return False
    if "Bearer" in template and not bearer:
        return False
    split = any(m in template for m in ("@H1@", "@R@"))
    return not split or (not whole and len(value) >= 24)
