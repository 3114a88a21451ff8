"""100 planted secrets of five further kinds, 20 each, kept for the very last run.

Nobody tunes a redactor against these: they measure what it does with kinds it was not written for.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from urllib.parse import quote

from corpora import generate, planting, special
from corpora import values as make

Item = planting.Item
Valued = Callable[[int], tuple[str, list[str]]]
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

SERVER: list[tuple[str, str, str]] = [
    ("console", "", "    http://localhost:8888/lab?token=@A@"),
    ("console", "", "[I 2026-11-20 09:10:11.123 ServerApp] http://gpu-7:8888/tree?token=@A@"),
    ("console", "", " or http://127.0.0.1:8888/?token=@A@\n[I ServerApp] Use Control-C to stop"),
    ("console", "", "\x1b[32m[C ServerApp]\x1b[m \n\n  Or paste: http://n1:9999/?token=@A@"),
    ("console", "", "Running servers:\nhttp://10.2.0.4:8888/?token=@A@ :: /home/trainer"),
    ("console", "", '{"url": "http://gpu-7:8888/", "token": "@A@", "pid": 4121}'),
    ("console", "", "302 GET /?token=@A@ (@10.1.2.3) 0.75ms"),
    ("console", "", "kernel ws://gpu-7:8888/api/kernels/7f1c/channels?session_id=1&token=@A@"),
    ("argv", "", "jupyter\x00lab\x00--ServerApp.token=@A@\x00--ip=0.0.0.0"),
    ("argv", "", "jupyter\x00notebook\x00--NotebookApp.token\x00@A@"),
    ("argv", "", "jupyter\x00lab\x00--IdentityProvider.token='@A@'"),
    ("argv", "", "ngrok\x00config\x00add-authtoken\x00@A@"),
    ("environment", "", "JUPYTER_TOKEN=@A@"),
    ("environment", "", "JUPYTER_SERVER_URL=http://gpu-7:8888/user/jo/?token=@A@"),
    ("environment", "", "JPY_API_TOKEN=@A@\nJUPYTERHUB_USER=jo"),
    ("patch", "jupyter_server_config.py", "c.ServerApp.token = '@A@'"),
    ("patch", "sh", "jupyter lab --no-browser --port 8888 \\\n  --ServerApp.token='@A@' &"),
    ("patch", "docker-compose.yml", '    command: start-notebook.sh --NotebookApp.token="@A@"'),
    ("patch", "README.md", "Open http://gpu-7.internal:8888/lab?token=@A@ in a browser."),
    ("notebook", "", "!curl -s 'http://localhost:8888/api/contents?token=@A@'"),
]
SIGNED: list[tuple[str, str, str]] = [
    ("console", "", "INFO downloading @A@"),
    ("console", "", "urllib3.connectionpool DEBUG redirecting to @A@"),
    ("console", "", "HTTPError: 403 Client Error: Forbidden for url: @A@"),
    ("console", "", "\rshard-0003.tar:  12%|#2        | 120M/1.0G [00:03<00:22] @A@"),
    ("console", "", '{"file": "model.safetensors", "location": "@A@"}'),
    ("console", "", "< location: @A@\n< content-length: 0"),
    ("console", "", "--2026-11-20 10:00:00--  @A@\nResolving host... 52.1.2.3"),
    ("argv", "", "wget\x00-O\x00data.tar\x00@A@"),
    ("argv", "", "aria2c\x00-x16\x00@A@"),
    ("argv", "", "train.py\x00--data_url=@A@\x00--epochs\x002"),
    ("argv", "", "train.py\x00data.urls=['@A@']"),
    ("patch", "sh", "curl -fL '@A@' -o weights.pt"),
    ("patch", "py", 'URL = "@A@"'),
    ("patch", "py", "WEIGHTS = {\n    'base': '@A@',\n}"),
    ("patch", "yaml", 'dataset:\n  source: "@A@"'),
    ("patch", "config.json", '  "checkpoint": "@A@",'),
    ("patch", "README.md", "[weights](@A@)"),
    ("environment", "", "DATA_URL=@A@"),
    ("notebook", "", "!wget -q '@A@' -O sample.zip"),
    ("notebook", "", "df = pd.read_parquet('@A@')"),
]
POSITIONAL: list[tuple[str, str, str]] = [
    ("argv", "", "curl\x00-u\x00trainer:@A@\x00https://files.example.net/a"),
    ("argv", "", "sshpass\x00-p\x00@A@\x00ssh\x00jo@gpu-7\x00nvidia-smi"),
    ("argv", "", "mysql\x00-u\x00root\x00-p@A@\x00runs"),
    ("argv", "", "redis-cli\x00-h\x00cache\x00-a\x00@A@\x00ping"),
    ("argv", "", "docker\x00login\x00-u\x00jo\x00-p\x00@A@\x00registry.example.net"),
    ("argv", "", "unzip\x00-P\x00@A@\x00data.zip"),
    ("argv", "", "openssl\x00rsa\x00-in\x00k.pem\x00-passin\x00pass:@A@"),
    ("argv", "", "smbclient\x00//nas/sets\x00-U\x00jo%@A@"),
    ("patch", ".netrc", "machine files.example.net login jo password @A@"),
    ("patch", ".pgpass", "db.internal:5432:runs:mlflow:@A@"),
    ("patch", "sh", "echo '@A@' | sudo -S mount /data"),
    ("patch", "sh", "sshpass -p '@A@' rsync -a jo@gpu-7:/data/ data/"),
    ("patch", "sh", "7z x -p'@A@' sets.7z"),
    ("patch", "sh", "lftp -u 'jo,@A@' sftp://files.example.net -e 'mirror sets'"),
    ("patch", "py", "ftp = ftplib.FTP('files.example.net', 'jo', '@A@')"),
    ("patch", "py", 'r = requests.get(url, auth=("jo", "@A@"))'),
    ("console", "", "+ sshpass -p @A@ scp jo@gpu-7:ckpt.pt ."),
    ("console", "", "$ curl -su jo:@A@ https://files.example.net/list"),
    ("notebook", "", "!curl -s -u 'jo:@A@' https://files.example.net/a.zip -o a.zip"),
    ("notebook", "", "%sql --connect 'host=db user=jo' -W @A@"),
]
KUBERNETES: list[tuple[str, str, str]] = [
    ("patch", "k8s/secret.yaml", "kind: Secret\ntype: Opaque\ndata:\n  db: @B@"),
    ("patch", "k8s/secret.yml", "kind: Secret\nmetadata:\n  name: hub\nstringData:\n  hub: @A@"),
    ("patch", "k8s/all.yaml", "---\nkind: Secret\ndata:\n  username: am8=\n  value: '@B@'"),
    ("patch", "k8s/secret.json", '{"kind": "Secret", "data": {"db": "@B@"}}'),
    ("patch", "kubeconfig.yaml", "users:\n- name: jo\n  user:\n    client-key-data: @K@"),
    ("patch", ".kube/config", "- name: trainer\n  user:\n    token: @A@"),
    ("patch", "sh", "kubectl create secret generic hub --from-literal=db='@A@'"),
    ("patch", "sh", "helm upgrade trainer ./chart --set 'postgresql.auth.postgresPassword=@A@'"),
    ("patch", "kustomization.yaml", "secretGenerator:\n- name: hub\n  literals:\n  - db=@A@"),
    ("patch", "sealed/values.yaml", 'secrets:\n  hub:\n    db: "@B@"'),
    ("argv", "", "kubectl\x00create\x00secret\x00generic\x00hub\x00--from-literal=db=@A@"),
    ("argv", "", "helm\x00install\x00trainer\x00./chart\x00--set\x00hub.auth.pw=@A@"),
    ("argv", "", "kubectl\x00--token=@A@\x00get\x00pods"),
    ("console", "", "apiVersion: v1\ndata:\n  db: @B@\nkind: Secret\nmetadata:\n  name: hub"),
    ("console", "", '{"apiVersion":"v1","kind":"Secret","data":{"db":"@B@"}}'),
    ("console", "", "    client-key-data: @K@"),
    ("console", "", "+ kubectl create secret generic hub --from-literal db=@A@"),
    ("environment", "", 'KUBECONFIG_CONTENT={"users":[{"user":{"client-key-data":"@K@"}}]}'),
    ("notebook", "", "!kubectl create secret generic hub --from-literal=db='@A@'"),
    ("notebook", "", "body = client.V1Secret(string_data={'db': '@A@'})"),
]
SEEDS: list[tuple[str, str, str]] = [
    ("patch", "wg0.conf", "[Interface]\nPrivateKey = @W@\nAddress = 10.8.0.2/24"),
    ("patch", "wg0.conf", "[Peer]\nPresharedKey = @W@\nEndpoint = vpn.example.net:51820"),
    ("patch", "keys/age.txt", "# created: 2026-11-20T09:00:00Z\n@G@"),
    ("patch", "sh", "export SOPS_AGE_KEY=@G@"),
    ("patch", "py", "totp = pyotp.TOTP('@O@')"),
    ("patch", "py", 'URI = "otpauth://totp/ml:jo?secret=@O@&issuer=ml&digits=6"'),
    ("patch", "sh", "oathtool -b --totp @O@ | ssh gpu-7"),
    ("patch", "keys/signing.jwk.json", '  {"kty": "OKP", "crv": "Ed25519", "d": "@J@"},'),
    ("patch", "infra/user-data.yaml", "  - tailscale up --auth-key=@S@"),
    ("patch", "keys/deploy.asc", "@P@"),
    ("console", "", "[Interface]\n  PrivateKey = @W@\n  ListenPort = 51820"),
    ("console", "", "$ age-keygen\n@G@"),
    ("console", "", "scan otpauth://totp/hub:jo?secret=@O@&issuer=hub"),
    ("console", "", "+ tailscale up --authkey @S@ --hostname gpu-7"),
    ("argv", "", "tailscale\x00up\x00--authkey=@S@"),
    ("argv", "", "oathtool\x00--totp\x00-b\x00@O@"),
    ("environment", "", "SOPS_AGE_KEY=@G@"),
    ("environment", "", "TS_AUTHKEY=@S@"),
    ("environment", "", "MFA_SEED=@O@"),
    ("notebook", "", "import pyotp\ncode = pyotp.TOTP('@O@').now()"),
]


def _bech32(prefix: str, data: bytes) -> str:
    """Bech32 with its checksum, as age writes its keys."""
    bits = int.from_bytes(data, "big") << (-8 * len(data) % 5)
    size = (8 * len(data) + 4) // 5
    words = [bits >> 5 * (size - 1 - i) & 31 for i in range(size)]
    check = 1
    spread = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    for value in [*spread, *words, 0, 0, 0, 0, 0, 0]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, part in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= part if top >> i & 1 else 0
    words += [(check ^ 1) >> 5 * (5 - i) & 31 for i in range(6)]
    return f"{prefix}1{''.join(BECH32[w] for w in words)}".upper()


def _server(rng: random.Random) -> list[Item]:
    def value(number: int) -> tuple[str, list[str]]:
        text = make.pick(rng, make.HEX, 48)
        if "ngrok" in SERVER[number][2]:
            text = f"2{make.pick(rng, make.BASE62, 26)}_{make.pick(rng, make.BASE62, 21)}"
        return text, [text]

    return special.carried(rng, SERVER, "@A@", value)


def _signed(rng: random.Random) -> list[Item]:
    def value(_: int) -> tuple[str, list[str]]:
        key, _secret = make.aws_pair(rng)
        name = f"{rng.choice(make.WORDS)}-{rng.randint(100, 999)}"
        sort = rng.randrange(4)
        if sort == 0:
            mark, session = make.pick(rng, make.HEX, 64), make.aws_session(rng)
            text = (
                f"https://{name}.s3.eu-west-1.amazonaws.com/set.tar?X-Amz-Algorithm="
                f"AWS4-HMAC-SHA256&X-Amz-Credential={key}%2F20261120%2Feu-west-1%2Fs3%2Faws4"
                f"_request&X-Amz-Date=20261120T090000Z&X-Amz-Expires=3600&X-Amz-Security-Token="
                f"{quote(session, safe='')}&X-Amz-SignedHeaders=host&X-Amz-Signature={mark}"
            )
            return text, [mark, session, quote(session, safe="")]
        if sort == 1:
            mark = make.pick(rng, make.HEX, 512)
            text = (
                f"https://storage.googleapis.com/{name}/set.tar?X-Goog-Algorithm=GOOG4-RSA-SHA256"
                f"&X-Goog-Credential=t%40{name}.iam.gserviceaccount.com%2F20261120%2Fauto"
                f"%2Fstorage%2Fgoog4_request&X-Goog-Date=20261120T090000Z&X-Goog-Expires=900"
                f"&X-Goog-SignedHeaders=host&X-Goog-Signature={mark}"
            )
            return text, [mark]
        if sort == 2:
            mark = make.b64(rng.randbytes(20))
            text = f"https://s3.amazonaws.com/{name}/w.pt?AWSAccessKeyId={key}&Expires=1790000000"
            return f"{text}&Signature={quote(mark, safe='')}", [mark, quote(mark, safe="")]
        mark = base64.b64encode(rng.randbytes(256), b"-~").decode().replace("=", "_")
        policy = make.b64url(json.dumps({"Statement": [{"Resource": name}]}).encode())
        text = f"https://cdn-lfs.example.net/repos/{name}?Policy={policy}&Signature={mark}"
        return f"{text}&Key-Pair-Id=K{make.pick(rng, make.BASE36.upper(), 13)}", [mark]

    return special.carried(rng, SIGNED, "@A@", value)


def _positional(rng: random.Random) -> list[Item]:
    def value(_: int) -> tuple[str, list[str]]:
        text = make.password(rng, "+=.!")
        return text, [text]

    return special.carried(rng, POSITIONAL, "@A@", value)


def _marked(
    rng: random.Random,
    carriers: list[tuple[str, str, str]],
    makers: dict[str, Callable[[], tuple[str, list[str]]]],
) -> list[Item]:
    """Carriers whose template says by its mark which value it takes."""
    items: list[Item] = []
    for carrier in carriers:
        mark = next(m for m in makers if m in carrier[2])
        drawn = makers[mark]()
        items += special.carried(rng, [carrier], mark, special.always(*drawn))
    return items


def _kubernetes(rng: random.Random) -> list[Item]:
    def plain() -> tuple[str, list[str]]:
        text = make.password(rng, "+=.")
        return text, [text]

    def coded() -> tuple[str, list[str]]:
        text = make.password(rng)
        return make.b64(text.encode()), [text, make.b64(text.encode())]

    def key() -> tuple[str, list[str]]:
        text, lines = make.pem(rng, "RSA")
        return make.b64(text.encode()), [*lines, make.b64(text.encode())]

    return _marked(rng, KUBERNETES, {"@A@": plain, "@B@": coded, "@K@": key})


def _seeds(rng: random.Random) -> list[Item]:
    def one(text: str, secret: str | None = None) -> tuple[str, list[str]]:
        return text, [secret or text]

    def pgp() -> tuple[str, list[str]]:
        body = make.b64(b"\x94\x58" + rng.randbytes(420))
        lines = [body[i : i + 64] for i in range(0, len(body), 64)]
        check = "=" + make.pick(rng, make.BASE64, 4)
        edges = [f"-----{edge} PGP PRIVATE KEY BLOCK-----" for edge in ("BEGIN", "END")]
        text = "\n".join([edges[0], "", *lines, check, edges[1]])
        return text, [line for line in lines if len(line) > 15]

    def tailscale() -> tuple[str, list[str]]:
        tail = make.pick(rng, make.BASE62, 32)
        return one(f"tskey-auth-k{make.pick(rng, make.BASE62, 11)}CNTRL-{tail}", tail)

    return _marked(
        rng,
        SEEDS,
        {
            "@W@": lambda: one(make.b64(rng.randbytes(32))),
            "@G@": lambda: one(_bech32("age-secret-key-", rng.randbytes(32))),
            "@O@": lambda: one(base64.b32encode(rng.randbytes(20)).decode()),
            "@J@": lambda: one(make.b64url(rng.randbytes(32))),
            "@S@": tailscale,
            "@P@": pgp,
        },
    )


KINDS: dict[str, generate.Maker] = {
    "server_token_url": _server,
    "presigned_url": _signed,
    "positional_password": _positional,
    "kubernetes_secret": _kubernetes,
    "seed_and_peer_key": _seeds,
}


def items(seed: int = generate.SEED) -> list[Item]:
    """The 100 held-back secrets.

    Args:
        seed: One seed gives one corpus.

    Returns:
        Items of the same form as generate.items gives.
    """
    return generate.numbered(KINDS, seed)
