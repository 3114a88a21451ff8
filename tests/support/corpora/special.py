"""Kinds whose secrets are structures: keys in blocks, URLs, headers, cookies, flags and so on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from corpora import contexts, planting
from corpora import values as make

Item = planting.Item
Drawn = planting.Drawn

# (where, file, template): @T@ the block, @TN@ the block on one line with \n, @TJ@ JSON-escaped,
# @TI@ indented by six, @TB@ base64, @TL@ one quoted string a line, @TP@ each line with a prefix.
BLOCKS: list[tuple[str, str, str]] = [
    ("patch", "keys/deploy.key", "@T@"),
    ("patch", "secrets/trainer.json", "@T@"),
    ("patch", "py", '@N@ = """@T@"""'),
    ("patch", "py", "@n@ = '''\\\n@T@\n'''"),
    ("patch", "py", "@N@ = (\n@TL@\n)"),
    ("patch", "yaml", "  @n@: |\n@TI@"),
    ("patch", "yaml", '@n@: "@TN@"'),
    ("patch", "yaml", "  @k@.b64: @TB@"),
    ("patch", "config.json", '  "@n@": "@TJ@",'),
    ("patch", ".env", '@N@="@TN@"'),
    ("patch", "sh", "cat > /tmp/k <<'EOF'\n@T@\nEOF"),
    ("patch", "sh", "echo @TB@ | base64 -d > /tmp/k"),
    ("patch", "infra/main.tf", "  @n@ = <<-EOT\n@TI@\n  EOT"),
    ("patch", "README.md", "```\n@T@\n```"),
    ("patch", "web/client.ts", "const @c@ = `@T@`;"),
    ("patch", "src/remote.cpp", "static const char* @n@ =\n@TL@;"),
    ("patch", "Dockerfile", "RUN printf '@TN@' > /home/jo/.key"),
    ("patch", "tests/cassette.yaml", '    body: \'{"@n@": "@TJ@"}\''),
    ("console", "", "$ cat ~/.keys/trainer\n@T@"),
    ("console", "", "@TP@"),
    ("console", "", '{"level": "debug", "@n@": "@TJ@"}'),
    ("console", "", "ValueError: could not deserialize key data: '@TN@'"),
    ("console", "", "\x1b[33mWARNING\x1b[0m @n@ is\n\x1b[2m@T@\x1b[0m"),
    ("console", "", "+ echo '@T@'\n+ chmod 600 /tmp/k"),
    ("console", "", "loaded config: {'@n@': '@TN@', 'region': 'eu'}"),
    ("console", "", "@N@=@TB@"),
    ("console", "", "[rank3] @n@ =\n@TI@"),
    ("argv", "", "train.py\x00--@k@\x00@T@"),
    ("argv", "", "train.py\x00--@k@=@TN@"),
    ("argv", "", "bash\x00-c\x00cat > /tmp/k <<'EOF'\n@T@\nEOF\npython train.py"),
    ("argv", "", "docker\x00run\x00-e\x00@N@=@TB@\x00trainer"),
    ("environment", "", "@N@=@TN@"),
    ("environment", "", "@N@=@T@"),
    ("environment", "", "@N@_BASE64=@TB@"),
    ("environment", "", 'APP_CONFIG={"@n@":"@TJ@"}'),
    ("notebook", "", '@n@ = """@T@"""'),
    ("notebook", "", "%%writefile key.txt\n@T@"),
    ("notebook", "", "cfg = {'@n@': '@TN@'}\nclient = make_client(**cfg)"),
    ("notebook", "", "!echo @TB@ | base64 -d > key.txt"),
    ("notebook", "", "import os\nos.environ['@N@'] = r'''@T@'''"),
]


def block_items(
    rng: random.Random, draw: Callable[[random.Random], tuple[str, list[str]]], *names: str
) -> list[Item]:
    """Plant a block of several lines in each of the forty carriers.

    Args:
        rng: The source of randomness.
        draw: Gives the block and the lines of it that must not survive.
        names: Names in UPPER_SNAKE for the block.

    Returns:
        Forty items, without id and kind.
    """
    items = []
    for where, file, template in BLOCKS:
        block, secrets = draw(rng)
        lines = block.split("\n")
        prefix = rng.choice(["trainer-0  | ", "[2026-11-20 09:12:44] ", "worker: "])
        encoded = make.b64((block + "\n").encode())
        name = rng.choice(names)
        template = contexts.fill(template, "", name)
        marks = {
            "@T@": block,
            "@TN@": block.replace("\\", "\\\\").replace("\n", "\\n"),
            "@TJ@": json.dumps(block)[1:-1],
            "@TI@": "\n".join("      " + line for line in lines),
            "@TB@": encoded,
            "@TL@": "\n".join("    " + json.dumps(line + "\n") for line in lines),
            "@TP@": "\n".join(prefix + line for line in lines),
        }
        found = [*secrets, encoded] if "@TB@" in template else list(secrets)
        for mark, text in marks.items():
            template = template.replace(mark, text)
        text_: Any = template
        if where == "argv":
            text_ = template.split("\x00")
        elif where == "patch":
            text_ = planting.patched(rng, file, template)
            del text_["mode"]
        elif where == "environment":
            text_ = planting.environment(rng, template)
        items.append({"secret": found, "where": where, "text": text_})
    return items


def service_account(rng: random.Random) -> tuple[str, list[str]]:
    """A service-account file, pretty-printed or on one line."""
    info, lines = make.service_account(rng)
    return json.dumps(info, indent=rng.choice([2, 2, 4, None])), lines


def _password(rng: random.Random) -> tuple[str, list[str]]:
    """A password as a URL needs it, and its forms."""
    plain = make.password(rng)
    coded = quote(plain, safe="!")
    return coded, list(dict.fromkeys([plain, coded]))


def database_url(rng: random.Random) -> Drawn:
    """A URL or DSN with a password, under a usual name."""
    coded, secrets = _password(rng)
    user = rng.choice(["mlflow", "optuna", "admin", "airflow", "svc_train", ""])
    host = rng.choice(["db.internal", "10.4.0.17", "pg-1.eu.example.net", "localhost"])
    userless = f"redis://:{coded}@{host}:6379/0"
    user = user or "root"
    forms = [
        (f"postgresql://{user}:{coded}@{host}:5432/runs", "DATABASE_URL"),
        (f"postgresql+psycopg2://{user}:{coded}@{host}/mlflow", "BACKEND_STORE_URI"),
        (f"mysql+pymysql://{user}:{coded}@{host}:3306/optuna?charset=utf8mb4", "STORAGE"),
        (f"mongodb+srv://{user}:{coded}@{host}/features?retryWrites=true", "MONGO_URI"),
        (userless, "REDIS_URL"),
        (f"amqp://{user}:{coded}@{host}:5672/%2F", "CELERY_BROKER_URL"),
        (f"clickhouse://{user}:{coded}@{host}:9000/metrics", "CLICKHOUSE_DSN"),
        (f"mssql+pyodbc://{user}:{coded}@{host}/ml?driver=ODBC+17", "SQLALCHEMY_DATABASE_URI"),
        (f"snowflake://{user}:{coded}@acme-eu1/FEATURES/PUBLIC", "SNOWFLAKE_URI"),
    ]
    value, name = rng.choice(forms)
    return value, name, secrets


def auth_url(rng: random.Random) -> Drawn:
    """A URL with user and password, or token, in it: git, pip, proxy, ssh, artefacts."""
    coded, secrets = _password(rng)
    user = rng.choice(["trainer", "jo", "ci-bot", "deploy"])
    forms = [
        (f"https://{user}:{coded}@git.example.net/ml/data.git", "GIT_REMOTE"),
        (f"git+https://{user}:{coded}@git.example.net/ml/lib.git@v1.2", "LIB_SOURCE"),
        (f"https://{user}:{coded}@pypi.example.net/simple", "PIP_EXTRA_INDEX_URL"),
        (f"http://{user}:{coded}@proxy.internal:3128", "HTTPS_PROXY"),
        (f"ssh://{user}:{coded}@gpu-7.internal:22/data", "SYNC_TARGET"),
        (f"sftp://{user}:{coded}@files.example.net/ckpt", "CHECKPOINT_STORE"),
        (f"ftp://{user}:{coded}@10.0.0.9/sets/train.tar", "DATASET_LOCATION"),
        (f"https://{user}:{coded}@mlflow.example.net", "MLFLOW_TRACKING_URI"),
        (f"https://{user}:{coded}@nexus.example.net/repository/raw/x.pt", "ARTIFACT_URL"),
        (f"smb://{user}:{coded}@nas/share", "SHARE"),
    ]
    value, name = rng.choice(forms)
    return value, name, secrets


def azure(rng: random.Random) -> Drawn:
    """Connection string, SAS URL, bare account key or application secret."""
    account, roll = rng.choice(make.WORDS) + str(rng.randint(10, 99)), rng.random()
    if roll < 0.4:
        key = make.azure_key(rng)
        text = f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={key}"
        return text + ";EndpointSuffix=core.windows.net", "AZURE_STORAGE_CONNECTION_STRING", [key]
    if roll < 0.7:
        sig = make.b64(rng.randbytes(32))
        query = f"sv=2023-11-03&ss=b&srt=co&sp=rl&se=2027-01-0{rng.randint(1, 9)}T00%3A00%3A00Z"
        base = rng.choice([f"https://{account}.blob.core.windows.net/data?", ""])
        name = "SAS_URL" if base else "AZURE_STORAGE_SAS_TOKEN"
        return f"{base}{query}&sig={quote(sig, safe='')}", name, [sig, quote(sig, safe="")]
    if roll < 0.85:
        key = make.azure_key(rng)
        return key, rng.choice(["AZURE_STORAGE_KEY", "ACCOUNT_KEY"]), [key]
    key = make.azure_client_secret(rng)
    return key, "AZURE_CLIENT_SECRET", [key]


HEADERS = [
    ("patch", "py", 'HEADERS = {"Authorization": "@A@"}'),
    ("patch", "py", "session.headers.update({'Authorization': '@A@', 'Accept': '*/*'})"),
    ("patch", "py", 'req.add_header("Authorization", "@A@")'),
    ("patch", "py", 'grpc.metadata = (("authorization", "@A@"), ("x-run", "7"))'),
    ("patch", "py", "kw['headers']['authorization'] = b'@A@'"),
    ("patch", "py", 'opener.addheaders = [("Proxy-Authorization", "@A@")]'),
    ("patch", "yaml", "headers:\n  Authorization: @A@"),
    ("patch", "tests/cassettes/hub.yaml", "    headers:\n      Authorization:\n      - @A@"),
    ("patch", "yaml", "exporters:\n  otlp:\n    headers: {authorization: '@A@'}"),
    ("patch", "config.json", '  "headers": {"Authorization": "@A@"},'),
    ("patch", "sh", "curl -H 'Authorization: @A@' https://api.example.net/v1/me"),
    ("patch", "sh", 'wget --header="Authorization: @A@" \\\n  https://files.example.net/a.tar'),
    ("patch", "sh", "git config http.extraheader 'AUTHORIZATION: @A@'"),
    ("patch", "sh", "http GET api.example.net/me Authorization:'@A@'"),
    ("patch", "web/client.ts", "fetch(url, { headers: { Authorization: `@A@` } });"),
    ("patch", "docs/api.http", "GET /v1/runs HTTP/1.1\nauthorization: @A@"),
    ("argv", "", "curl\x00-H\x00Authorization: @A@\x00https://api.example.net"),
    ("argv", "", "wget\x00--header=Authorization: @A@\x00https://files.example.net/a"),
    ("argv", "", 'train.py\x00--headers\x00{"authorization": "@A@"}'),
    ("argv", "", "git\x00-c\x00http.extraheader=Authorization: @A@\x00fetch"),
    ("argv", "", "grpcurl\x00-H\x00authorization: @A@\x00host:443\x00list"),
    ("argv", "", "train.py\x00client.headers.Authorization='@A@'"),
    ("console", "", "> GET /v1/me HTTP/2\n> authorization: @A@\n> accept: */*"),
    ("console", "", "send: b'GET /me HTTP/1.1\\r\\nAuthorization: @A@\\r\\nHost: e\\r\\n\\r\\n'"),
    ("console", "", "DEBUG:httpx:headers=[(b'authorization', b'@A@')]"),
    ("console", "", "Headers({'host': 'api', 'authorization': '@A@'})"),
    ("console", "", '{"request": {"headers": {"Authorization": ["@A@"]}}}'),
    ("console", "", '{"msg": "{\\"Authorization\\":\\"@A@\\"}"}'),
    ("console", "", "\x1b[36mAuthorization\x1b[0m: \x1b[33m@A@\x1b[0m"),
    ("console", "", "RuntimeError: 403 for Authorization=@A@"),
    ("console", "", "curl: (22) -H Authorization:@A@"),
    ("environment", "", "OTEL_EXPORTER_OTLP_HEADERS=Authorization=@A@"),
    ("environment", "", "CURL_OPTS=-H 'Authorization: @A@'"),
    ("environment", "", "GIT_CONFIG_VALUE_0=AUTHORIZATION: @A@"),
    ("environment", "", "HTTP_AUTHORIZATION=@A@"),
    ("notebook", "", "requests.get(url, headers={'Authorization': '@A@'})"),
    ("notebook", "", "!curl -s -H 'Authorization: @A@' https://api.example.net/v1/me | head"),
    ("notebook", "", "H = {\n    'authorization':\n        '@A@',\n}"),
    ("notebook", "", 'auth = "@A@"\nr = httpx.get(u, headers=dict(Authorization=auth))'),
    ("notebook", "", "%env OTEL_EXPORTER_OTLP_HEADERS authorization=@A@"),
]


def authorization(rng: random.Random) -> list[Item]:
    """Bearer, Basic, Token and ApiKey headers in forty carriers."""

    def value(number: int) -> tuple[str, list[str]]:
        if number % 3 == 1:
            plain = make.password(rng)
            coded = make.b64(f"{rng.choice(['trainer', 'ci', 'jo'])}:{plain}".encode())
            return f"{rng.choice(['Basic', 'Basic', 'basic'])} {coded}", [coded, plain]
        letters = rng.choice([make.BASE62, make.URLSAFE, make.HEX])
        token = make.pick(rng, letters, rng.choice([32, 40, 43, 64]))
        scheme = rng.choice(["Bearer", "Bearer", "bearer", "Token", "ApiKey"])
        return f"{scheme} {token}", [token]

    return carried(rng, HEADERS, "@A@", value)


def always(text: str, secrets: list[str]) -> Callable[[int], tuple[str, list[str]]]:
    """A source of values for carried that gives one value."""
    return lambda _: (text, secrets)


def carried(
    rng: random.Random,
    carriers: list[tuple[str, str, str]],
    mark: str,
    value: Callable[[int], tuple[str, list[str]]],
) -> list[Item]:
    r"""Put one value in each carrier.

    Args:
        rng: The source of randomness.
        carriers: Triples (where, file, template); argv words are parted by \x00.
        mark: What to replace in the template.
        value: Gives the value of a number and its secrets.

    Returns:
        One item for each carrier, without id and kind.
    """
    items = []
    for number, (where, file, template) in enumerate(carriers):
        text, secrets = value(number)
        body: Any = template.replace(mark, text)
        if where == "argv":
            body = body.split("\x00")
        elif where == "patch":
            body = planting.patched(rng, file, body)
            del body["mode"]
        elif where == "environment":
            body = planting.environment(rng, body)
        elif where == "console":
            body = planting.console(rng, body)
        items.append({"secret": secrets, "where": where, "text": body})
    return items
