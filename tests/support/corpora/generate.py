"""1,000 planted secrets of 25 kinds, 40 each, and the rule that says whether one survived."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from corpora import carriers, planting, special
from corpora import values as make

Item = planting.Item
Drawn = planting.Drawn
simple, tokens = planting.simple, planting.token_items
SEED = 20261126
WHERES = ("patch", "argv", "console", "environment", "notebook")
GENERIC = [
    "PASSWORD",
    "DB_PASSWORD",
    "API_KEY",
    "SECRET_KEY",
    "CLIENT_SECRET",
    "ACCESS_TOKEN",
    "ENCRYPTION_KEY",
    "SMTP_PASS",
    "PASSPHRASE",
    "PRIVATE_TOKEN",
    "AUTH_SECRET",
    "ADMIN_PWD",
    "SIGNING_SECRET",
    "SERVICE_CREDENTIAL",
    "APIKEY",
    "REDIS_PASSWORD",
    "HUB_AUTH_TOKEN",
    "MASTER_KEY",
    "SECRET",
    "USER_PASSWD",
]


def _aws(rng: random.Random) -> list[Item]:
    def pair(rng: random.Random) -> Drawn:
        _, secret = make.aws_pair(rng)
        return secret, rng.choice(["AWS_SECRET_ACCESS_KEY", "S3_SECRET_KEY"]), [secret]

    def key_id(rng: random.Random) -> Drawn:
        value, _ = make.aws_pair(rng)
        return value, "AWS_ACCESS_KEY_ID", [value]

    both = [
        ("patch", ".aws/credentials", "[default]\naws_access_key_id = @I@\n@s@ = @S@"),
        ("patch", "sh", "export AWS_ACCESS_KEY_ID=@I@\nexport @N@=@S@"),
        ("patch", "py", "s3 = boto3.client('s3', aws_access_key_id='@I@',\n  @s@='@S@')"),
        ("patch", "py", 'storage_options = {"key": "@I@", "secret": "@S@"}'),
        ("patch", "conf/minio.yaml", "s3:\n  accessKey: @I@\n  secretKey: @S@"),
        ("patch", "access_keys.csv", "Access key ID,Secret access key\n@I@,@S@"),
        ("patch", "infra/main.tf", 'access_key = "@I@"\nsecret_key = "@S@"'),
        ("argv", "", "env\x00AWS_ACCESS_KEY_ID=@I@\x00@N@=@S@\x00python\x00train.py"),
        ("argv", "", "train.py\x00s3.key=@I@\x00s3.secret=@S@"),
        ("console", "", "Credentials(access_key='@I@', secret_key='@S@', token=None)"),
        ("console", "", '{"AccessKey": {"AccessKeyId": "@I@", "SecretAccessKey": "@S@"}}'),
        ("console", "", '"SessionToken": "@T@",\n"AccessKeyId": "@I@",'),
        ("environment", "", "AWS_ACCESS_KEY_ID=@I@\n@N@=@S@\nAWS_SESSION_TOKEN=@T@"),
        ("environment", "", "MINIO_ROOT_USER=minio\nMINIO_ROOT_PASSWORD=@S@"),
        ("notebook", "", "%env AWS_ACCESS_KEY_ID=@I@\n%env @N@=@S@"),
        ("notebook", "", "fs = s3fs.S3FileSystem(key='@I@', secret='@S@')"),
    ]
    items = []
    for where, file, template in both:
        ident, secret = make.aws_pair(rng)
        marks = {"@I@": ident, "@S@": secret, "@T@": make.aws_session(rng)}
        found = [value for mark, value in marks.items() if mark in template]
        template = template.replace("@N@", "AWS_SECRET_ACCESS_KEY")
        text = template.replace("@s@", "aws_secret_access_key")
        for mark, value in marks.items():
            text = text.replace(mark, value)
        one = special.carried(rng, [(where, file, text)], "\x01", special.always("", found))
        items += one
    ids = {"patch": 4, "console": 4, "argv": 2}
    items += tokens(rng, key_id, plan=ids, bearer=False)
    return items + tokens(rng, pair, named=True, plan={**ids, "notebook": 4}, bearer=False)


def _slack(rng: random.Random) -> Drawn:
    if rng.random() < 0.4:
        url, tail = make.slack_webhook(rng)
        return url, "SLACK_WEBHOOK_URL", [tail]
    value = make.slack(rng)
    return value, rng.choice(["SLACK_BOT_TOKEN", "SLACK_TOKEN"]), [value]


def _messaging(rng: random.Random) -> Drawn:
    roll = rng.randrange(4)
    if roll == 0:
        value, name = make.telegram(rng), rng.choice(["TELEGRAM_BOT_TOKEN", "TG_TOKEN"])
        return value, name, [value, value.split(":")[1]]
    if roll == 1:
        value = make.sendgrid(rng)
        return value, "SENDGRID_API_KEY", [value]
    if roll == 2:
        value = make.pick(rng, make.HEX, 32)
        return value, "TWILIO_AUTH_TOKEN", [value]
    value = make.pick(rng, make.BASE62, 32)
    return value, "TWILIO_API_SECRET", [value]


def _databricks_mlflow(rng: random.Random) -> Drawn:
    roll = rng.random()
    if roll < 0.5:
        value = make.databricks(rng)
        return value, rng.choice(["DATABRICKS_TOKEN", "DATABRICKS_PAT"]), [value]
    value = make.password(rng) if roll < 0.8 else make.pick(rng, make.BASE62, 40)
    name = "MLFLOW_TRACKING_PASSWORD" if roll < 0.8 else "MLFLOW_TRACKING_TOKEN"
    return value, name, [value]


def _kaggle(rng: random.Random) -> list[Item]:
    def draw(rng: random.Random) -> Drawn:
        body = make.pick(rng, make.HEX, 32)
        if rng.random() < 0.4:
            return "KGAT_" + body, "KAGGLE_API_TOKEN", ["KGAT_" + body]
        return body, "KAGGLE_KEY", [body]

    extra: dict[str, list[Any]] = {
        "patch": [
            ("kaggle.json", '{"username": "jo", "@V_key@": "@V@"}'.replace("@V_key@", "key")),
            ("sh", 'mkdir -p ~/.kaggle\necho \'{"username":"jo","key":"@V@"}\' > k.json'),
            ("py", "api_token = {'username': 'jo', 'key': '@V@'}  # kaggle"),
        ],
        "console": ['$ cat ~/.kaggle/kaggle.json\n{"username":"jo","key":"@V@"}'],
        "notebook": ['%%writefile kaggle.json\n{"username":"jo","key":"@V@"}'],
    }
    return tokens(rng, draw, named=True, extra=extra)


def _registry(rng: random.Random) -> list[Item]:
    def docker(_: int) -> tuple[str, list[str]]:
        plain = make.password(rng)
        coded = make.b64(f"{rng.choice(['trainer', 'ci-bot', 'jo'])}:{plain}".encode())
        return coded, [coded, plain]

    host = rng.choice(["https://index.docker.io/v1/", "ghcr.io", "registry.example.net:5000"])
    boxes = [(w, f, t.replace("@R@", host)) for w, f, t in carriers.DOCKER]
    plan = {"patch": 5, "argv": 2, "console": 2, "environment": 2, "notebook": 2}
    npm = tokens(
        rng,
        simple(make.npm, "NPM_TOKEN", "NODE_AUTH_TOKEN"),
        plan=plan,
        extra={"patch": [(".npmrc", "//registry.npmjs.org/:_authToken=@V@")]},
    )
    pypi = tokens(
        rng,
        simple(make.pypi, "TWINE_PASSWORD", "PYPI_TOKEN", "UV_PUBLISH_TOKEN"),
        plan=plan,
        extra={
            "patch": [(".pypirc", "[pypi]\nusername = __token__\npassword = @V@")],
            "argv": [["twine", "upload", "-u", "__token__", "-p", "@V@", "dist/a.whl"]],
        },
    )
    return special.carried(rng, boxes, "@A@", docker) + npm + pypi


def _cookies(rng: random.Random) -> list[Item]:
    names = ["sessionid", "session", "connect_sid", "auth_session", "PHPSESSID", "_xsrf_session"]

    def value(_: int) -> tuple[str, list[str]]:
        sort = rng.randrange(4)
        if sort == 0:
            text = make.pick(rng, make.BASE36, 32)
        elif sort == 1:
            body = make.b64url(json.dumps({"uid": make.pick(rng, make.HEX, 24)}).encode())
            text = f"{body}.{make.pick(rng, make.URLSAFE, 6)}.{make.pick(rng, make.URLSAFE, 27)}"
        elif sort == 2:
            text = f"s%3A{make.pick(rng, make.URLSAFE, 32)}.{make.pick(rng, make.BASE62, 43)}"
        else:
            text = make.pick(rng, make.HEX, rng.choice([32, 64]))
        return text, [text]

    boxes = [(w, f, t.replace("@K@", rng.choice(names))) for w, f, t in carriers.COOKIES]
    return special.carried(rng, boxes, "@A@", value)


def _flags(rng: random.Random) -> list[Item]:
    def value(number: int) -> tuple[str, list[str]]:
        sizes = [20, 24, 32, 40]
        text = make.pick(rng, make.BASE62, rng.choice(sizes))
        text = make.password(rng, "+=.%") if number % 2 else text
        return text, [text]

    return special.carried(rng, carriers.FLAGS, "@A@", value)


def _bare(rng: random.Random) -> list[Item]:
    def value(_: int) -> tuple[str, list[str]]:
        sort = rng.randrange(3)
        if sort == 0:
            text = make.pick(rng, make.BASE62, rng.choice([28, 32, 40, 48]))
        elif sort == 1:
            text = make.b64(rng.randbytes(rng.choice([24, 32, 48])))
        else:
            text = make.b64url(rng.randbytes(rng.choice([24, 32, 40])))
        return text, [text]

    return special.carried(rng, carriers.BARE, "@A@", value)


def _generic(rng: random.Random) -> Drawn:
    value = make.password(rng)
    return value, rng.choice(GENERIC), [value]


_GIT: dict[str, list[Any]] = {
    "argv": [["git", "clone", "https://oauth2:@V@@git.example.net/ml/data.git"]],
    "console": ["origin\thttps://x-access-token:@V@@git.example.net/ml/data.git (fetch)"],
    "notebook": ["!pip install git+https://@V@@git.example.net/ml/lib.git"],
    "patch": [("sh", "git clone https://jo:@V@@git.example.net/ml/data.git")],
}
_LOGIN: dict[str, list[Any]] = {
    "notebook": ["from hub import login\nlogin('@V@')", 'pipe = load("m", use_auth_token="@V@")'],
    "argv": [["train.py", "--hub_token", "@V@"]],
    "patch": [("py", 'model = Model.from_pretrained("org/m", token="@V@")')],
}
_WANDB: dict[str, list[Any]] = {
    "notebook": ['import wandb\nwandb.login(key="@V@")', "!wandb login @V@"],
    "argv": [["wandb", "login", "@V@"]],
    "console": ["wandb: Appending key for api.wandb.ai\nwandb: $ wandb login --relogin @V@"],
    "patch": [
        (".netrc", "machine api.wandb.ai\n  login user\n  password @V@"),
        ("py", 'wandb.login(key="@V@", relogin=True)'),
        ("sh", "wandb login --cloud @V@"),
    ],
}
Maker = Callable[[random.Random], list[Item]]
KINDS: dict[str, Maker] = {
    "aws_access_key": _aws,
    "github_token": lambda r: tokens(
        r, simple(make.github, "GITHUB_TOKEN", "GH_PAT", "GIT_TOKEN"), extra=_GIT
    ),
    "gitlab_token": lambda r: tokens(
        r, simple(make.gitlab, "GITLAB_TOKEN", "CI_DEPLOY_PASSWORD", "GL_TOKEN"), extra=_GIT
    ),
    "huggingface_token": lambda r: tokens(
        r,
        simple(make.huggingface, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUB_TOKEN"),
        extra=_LOGIN,
    ),
    "openai_key": lambda r: tokens(r, simple(make.openai, "OPENAI_API_KEY", "LLM_API_KEY")),
    "anthropic_key": lambda r: tokens(
        r, simple(make.anthropic, "ANTHROPIC_API_KEY", "CLAUDE_KEY", "JUDGE_API_KEY")
    ),
    "slack": lambda r: tokens(r, _slack, whole=True, bearer=False),
    "stripe_key": lambda r: tokens(r, simple(make.stripe, "STRIPE_SECRET_KEY", "STRIPE_KEY")),
    "google_api_key": lambda r: tokens(
        r, simple(make.google, "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_CREDENTIAL")
    ),
    "gcp_service_account": lambda r: special.block_items(
        r, special.service_account, "GOOGLE_CREDENTIALS", "GCP_SA_JSON", "SERVICE_ACCOUNT_INFO"
    ),
    "azure_storage": lambda r: tokens(r, special.azure, named=True, whole=True, bearer=False),
    "jwt": lambda r: tokens(r, simple(make.jwt, "ID_TOKEN", "AUTH_JWT", "SERVICE_TOKEN")),
    "pem_private_key": lambda r: special.block_items(
        r, make.pem, "PRIVATE_KEY", "SSH_KEY", "TLS_KEY", "DEPLOY_KEY"
    ),
    "database_url": lambda r: tokens(r, special.database_url, whole=True, bearer=False),
    "basic_auth_url": lambda r: tokens(r, special.auth_url, whole=True, bearer=False),
    "authorization_header": special.authorization,
    "generic_assignment": lambda r: tokens(
        r, _generic, named=True, bearer=False, plan={**planting.PLAN, "patch": 20, "argv": 1}
    ),
    "cli_flag": _flags,
    "registry_credential": _registry,
    "messaging_token": lambda r: tokens(r, _messaging, named=True, bearer=False),
    "databricks_mlflow": lambda r: tokens(r, _databricks_mlflow, named=True),
    "wandb_key": lambda r: tokens(
        r, simple(make.wandb, "WANDB_API_KEY", "WANDB_KEY"), named=True, extra=_WANDB
    ),
    "kaggle_key": _kaggle,
    "cookie_session": _cookies,
    "high_entropy": _bare,
}


def numbered(kinds: dict[str, Maker], seed: int) -> list[Item]:
    """Make the items of all kinds, each kind from a generator of its own, and give them ids."""
    return [
        {"id": f"{kind}-{number:03}", "kind": kind, **item}
        for kind, maker in kinds.items()
        for number, item in enumerate(maker(random.Random(f"{seed}:{kind}")), 1)
    ]


def items(seed: int = SEED) -> list[Item]:
    """The 1,000 planted secrets.

    Args:
        seed: One seed gives one corpus.

    Returns:
        Dictionaries of id, kind, secret, where and text, as README.md describes them.
    """
    return numbered(KINDS, seed)


def text_of(item: Item) -> str:
    """All the text that an item hands to the capture."""
    text = item["text"]
    if isinstance(text, dict):
        return str(text["before"] + text["after"])
    return text if isinstance(text, str) else "\n".join(text)


def variables(item: Item) -> dict[str, str]:
    """The NAME: value pairs of an environment item; a value may run over several lines."""
    found: dict[str, str] = {}
    name = ""
    for line in text_of(item).split("\n"):
        start = re.match(r"([A-Za-z_]\w*)=(?!=?$)", line)
        if start:
            name = start[1]
            found[name] = line[start.end() :]
        else:
            found[name] += "\n" + line
    return found


def forms(output: str) -> Iterator[str]:
    """The output itself and what a reader can decode from it."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output)
    yield output
    yield plain
    yield unquote(plain)
    yield unquote(unquote(plain))
    unescaped = plain
    for _ in range(2):
        unescaped = re.sub(
            r"\\(u[0-9a-fA-F]{4}|.)",
            lambda m: chr(int(m[1][1:], 16)) if m[1][1:] else {"n": "\n"}.get(m[1], m[1]),
            unescaped,
        )
        yield unescaped
    for source in (plain, unquote(plain), unescaped):
        for run in re.findall(r"[A-Za-z0-9+/_-]{12,}", source):
            run = run.translate(str.maketrans("-_", "+/"))
            run = run[: len(run) - 1] if len(run) % 4 == 1 else run
            yield base64.b64decode(run + "=" * (-len(run) % 4)).decode("latin-1")


def survivors(item: Item, output: str) -> list[str]:
    """The secrets of an item, or halves of them, that an output still shows.

    Args:
        item: An item of this corpus or of held_back.py.
        output: Whatever the capture wrote for it.

    Returns:
        What was seen; an empty list means that the secret was taken out.
    """
    wanted: list[str] = []
    for secret in item["secret"]:
        half = len(secret) // 2
        wanted += [secret] + [h for h in (secret[:half], secret[half:]) if len(h) >= 12]
    seen = "\0".join(forms(output))
    return [secret for secret in wanted if secret in seen]
