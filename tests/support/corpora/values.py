"""Makers of synthetic credentials: valid in form (length, alphabet, prefix, checksum), never real.

Sources of the formats are in README.md. Everything is drawn from the random.Random handed in, so
one seed gives one corpus.
"""

from __future__ import annotations

import base64
import json
import random
import string
import struct
import zlib

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
URLSAFE = BASE62 + "-_"
BASE64 = BASE62 + "+/"
HEX = "0123456789abcdef"
BASE36 = string.digits + string.ascii_lowercase
WORDS = [
    "maple",
    "otter",
    "cobalt",
    "lantern",
    "harbor",
    "pixel",
    "walnut",
    "ember",
    "glacier",
    "tundra",
    "saffron",
    "falcon",
    "meadow",
    "quartz",
    "copper",
    "juniper",
    "marble",
    "orbit",
    "thistle",
    "velvet",
    "willow",
    "zephyr",
]


def pick(rng: random.Random, alphabet: str, length: int) -> str:
    """Draw a string that, where the alphabet has them, holds a digit and both cases."""
    classes = (string.digits, string.ascii_uppercase, string.ascii_lowercase)
    wanted = [c for c in classes if sum(x in alphabet for x in c) > 5]
    while True:
        text = "".join(rng.choice(alphabet) for _ in range(length))
        if length < 16 or all(set(c) & set(text) for c in wanted):
            return text


def b64(data: bytes) -> str:
    """Standard base64 as text."""
    return base64.b64encode(data).decode()


def b64url(data: bytes) -> str:
    """URL-safe base64 without padding, as in JWT."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def base_n(number: int, alphabet: str, width: int) -> str:
    """Write a number in the alphabet's base, padded with its first sign."""
    out = ""
    while number:
        number, rest = divmod(number, len(alphabet))
        out = alphabet[rest] + out
    return out.rjust(width, alphabet[0])


def crc62(text: str) -> str:
    """GitHub's and npm's checksum: CRC32 in base62 (0-9A-Za-z), six signs."""
    return base_n(zlib.crc32(text.encode()), BASE62, 6)


def password(rng: random.Random, special: str = "!#%+=.") -> str:
    """A password as people choose them: words and digits, or random with punctuation."""
    first, second = rng.sample(WORDS, 2)
    mark = rng.choice(special)
    return rng.choice(
        [
            f"{first.title()}{second.title()}{rng.randint(1000, 9999)}{mark}",
            f"{first}-{second}-{rng.randint(100, 999)}{mark}{pick(rng, BASE62, 3)}",
            f"{pick(rng, BASE62, 7)}{mark}{pick(rng, BASE62, 8)}",
            pick(rng, BASE62, rng.choice([16, 20, 24, 32])),
            f"{first[:4]}{mark}{rng.randint(10, 99)}{second.upper()[:4]}{pick(rng, BASE62, 4)}",
        ]
    )


def aws_pair(rng: random.Random) -> tuple[str, str]:
    """Access key id (base32 body, first bit set as in the newer keys) and 40-sign secret."""
    body = bytes([rng.randrange(128, 256)]) + rng.randbytes(9)
    key_id = rng.choice(["AKIA", "AKIA", "ASIA"]) + base64.b32encode(body).decode()
    return key_id, pick(rng, BASE64, 40)


def aws_session(rng: random.Random) -> str:
    """STS session token: the usual start, then some hundred signs of base64."""
    return "IQoJb3JpZ2luX2Vj" + b64(rng.randbytes(rng.choice([210, 255, 300])))


def github(rng: random.Random) -> str:
    """Classic token (30 + 6 checksum) or fine-grained one (22 + 59)."""
    if rng.random() < 0.35:
        head, tail = "11" + pick(rng, BASE62, 20), pick(rng, BASE62, 53)
        return f"github_pat_{head}_{tail}{crc62(head + tail)}"
    body = pick(rng, BASE62, 30)
    return f"{rng.choice(['ghp', 'ghp', 'gho', 'ghs', 'ghu', 'ghr'])}_{body}{crc62(body)}"


def gitlab(rng: random.Random) -> str:
    """Personal, deploy, runner, trigger or routable personal token."""
    roll = rng.random()
    if roll < 0.5:
        return "glpat-" + pick(rng, URLSAFE, 20)
    if roll < 0.75:
        return rng.choice(["gldt-", "glrt-"]) + pick(rng, URLSAFE, 20)
    if roll < 0.85:
        return "glptt-" + pick(rng, HEX, 40)
    payload = b64url(rng.randbytes(27))
    text = f"glpat-{payload}.{base_n(len(payload), BASE36, 2)}"
    return text + base_n(zlib.crc32(text.encode()), BASE36, 7)


def huggingface(rng: random.Random) -> str:
    """User or organisation token: 34 letters."""
    return rng.choice(["hf_"] * 5 + ["api_org_"]) + pick(rng, string.ascii_letters, 34)


def openai(rng: random.Random) -> str:
    """Old 51-sign key, or project, service-account and admin key, with the T3BlbkFJ mark."""
    kind = rng.choice(["", "proj-", "proj-", "svcacct-", "admin-"])
    size, letters = (74, URLSAFE) if kind else (20, BASE62)
    return f"sk-{kind}{pick(rng, letters, size)}T3BlbkFJ{pick(rng, letters, size)}"


def anthropic(rng: random.Random) -> str:
    """API or admin key: 93 signs, then AA."""
    return f"sk-ant-{rng.choice(['api03', 'api03', 'admin01'])}-{pick(rng, URLSAFE, 93)}AA"


def slack(rng: random.Random) -> str:
    """Bot, user or app token."""
    team, user = (str(rng.randint(10**11, 10**13 - 1)) for _ in range(2))
    return rng.choice(
        [
            f"xoxb-{team}-{user}-{pick(rng, BASE62, 24)}",
            f"xoxb-{team}-{user}-{pick(rng, BASE62, 24)}",
            f"xoxp-{team}-{user}-{rng.randint(10**11, 10**12)}-{pick(rng, HEX, 32)}",
            f"xapp-1-A0{pick(rng, BASE36.upper(), 9)}-{user}-{pick(rng, HEX, 64)}",
        ]
    )


def slack_webhook(rng: random.Random) -> tuple[str, str]:
    """Webhook URL and its secret part (the last 24 signs)."""
    upper, tail = BASE36.upper(), pick(rng, BASE62, 24)
    ids = f"T0{pick(rng, upper, 9)}/B0{pick(rng, upper, 9)}"
    return f"https://hooks.slack.com/services/{ids}/{tail}", tail


def stripe(rng: random.Random) -> str:
    """Secret or restricted key, live or test, short or long; or a webhook secret."""
    if rng.random() < 0.12:
        return "whsec_" + pick(rng, BASE62, 32)
    mode = rng.choice(["sk_live_", "sk_live_", "sk_test_", "rk_live_"])
    return mode + (pick(rng, BASE62, 24) if rng.random() < 0.5 else "51" + pick(rng, BASE62, 97))


def google(rng: random.Random) -> str:
    """API key, OAuth client secret or OAuth access token."""
    return rng.choice(
        ["AIzaSy" + pick(rng, URLSAFE, 33)] * 4
        + ["GOCSPX-" + pick(rng, URLSAFE, 28), "ya29.a0" + pick(rng, URLSAFE, 160)]
    )


def azure_key(rng: random.Random) -> str:
    """Storage account key: base64 of 64 bytes, older ones random, newer ones with +ASt."""
    if rng.random() < 0.5:
        return b64(rng.randbytes(64))
    return f"{pick(rng, BASE64, 76)}+ASt{pick(rng, BASE64, 5)}{rng.choice('AQgw')}=="


def azure_client_secret(rng: random.Random) -> str:
    """Entra ID (AAD) application secret: 40 signs with 8Q~ in it."""
    return f"{pick(rng, BASE62, 3)}8Q~{pick(rng, URLSAFE + '.~', 33)}{rng.choice(BASE62)}"


def jwt(rng: random.Random) -> str:
    """Signed token: HS256, RS256 or ES256, claims in JSON, signature of the right length."""
    alg, size = rng.choice([("HS256", 32), ("RS256", 256), ("ES256", 64)])
    header: dict[str, str] = {"alg": alg, "typ": "JWT"}
    if rng.random() < 0.5:
        header["kid"] = pick(rng, HEX, 16)
    issued = rng.randint(1_700_000_000, 1_790_000_000)
    claims = {"sub": f"svc-{rng.choice(WORDS)}", "iat": issued, "exp": issued + 3600}
    claims |= {"iss": "https://login.example.net", "jti": pick(rng, HEX, 16)}
    packed = (json.dumps(x, separators=(",", ":")).encode() for x in (header, claims))
    return ".".join([*map(b64url, packed), b64url(rng.randbytes(size))])


def telegram(rng: random.Random) -> str:
    """Bot id, colon, 35 signs that start with AA."""
    return f"{rng.randint(10**8, 8 * 10**9)}:AA{pick(rng, URLSAFE, 33)}"


def sendgrid(rng: random.Random) -> str:
    """SG., 22 signs, dot, 43 signs."""
    return f"SG.{pick(rng, URLSAFE, 22)}.{pick(rng, URLSAFE, 43)}"


def databricks(rng: random.Random) -> str:
    """dapi, 32 hex digits, at times a shard number."""
    return f"dapi{pick(rng, HEX, 32)}{rng.choice(['', '-2', '-3'])}"


def wandb(rng: random.Random) -> str:
    """40 hex digits, the same for a local server, or the 86-sign form of late 2025."""
    roll = rng.random()
    if roll < 0.6:
        return pick(rng, HEX, 40)
    if roll < 0.75:
        return "local-" + pick(rng, HEX, 40)
    return f"wandb_v1_{pick(rng, BASE62, 27)}_{pick(rng, BASE62, 49)}"


def pypi(rng: random.Random) -> str:
    """PyPI upload token: a v2 macaroon with location, identifier, caveat and signature."""
    hexes = pick(rng, HEX, 32)
    ident = "-".join([hexes[:8], hexes[8:12], "4" + hexes[13:16], "a" + hexes[17:20], hexes[20:]])
    caveat = b'{"version": 1, "permissions": "user"}'
    raw = b"\x02\x01\x08pypi.org\x02" + bytes([len(ident)]) + ident.encode() + b"\x00\x02"
    raw += bytes([len(caveat)]) + caveat + b"\x00\x00\x06\x20" + rng.randbytes(32)
    return "pypi-" + b64url(raw)


def npm(rng: random.Random) -> str:
    """npm_ token: 30 signs and the same checksum as GitHub's."""
    body = pick(rng, BASE62, 30)
    return f"npm_{body}{crc62(body)}"


def der(tag: int, body: bytes) -> bytes:
    """One DER element."""
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def _der_int(rng: random.Random, size: int) -> bytes:
    return der(2, b"\x00" + bytes([rng.randrange(128, 256)]) + rng.randbytes(size - 1))


def rsa_der(rng: random.Random, bits: int = 2048) -> bytes:
    """PKCS#1 structure with random integers of the right sizes: parses, is no key."""
    whole, half = bits // 8, bits // 16
    ints = [der(2, b"\x00"), _der_int(rng, whole), der(2, b"\x01\x00\x01"), _der_int(rng, whole)]
    return der(0x30, b"".join(ints + [_der_int(rng, half) for _ in range(5)]))


def _openssh(rng: random.Random) -> bytes:
    def field(data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + data

    public, check = rng.randbytes(32), rng.randbytes(4)
    blob = field(b"ssh-ed25519") + field(public)
    inner = check + check + blob + field(rng.randbytes(32) + public) + field(b"train@gpu-node")
    inner += bytes(range(1, 1 + -len(inner) % 8))
    head = b"openssh-key-v1\x00" + field(b"none") * 2 + field(b"") + struct.pack(">I", 1)
    return head + field(blob) + field(inner)


def pem(rng: random.Random, kind: str | None = None) -> tuple[str, list[str]]:
    """A PEM private key and its telling body lines (16 signs and more).

    Args:
        rng: The source of randomness.
        kind: RSA, EC, OPENSSH, "" (PKCS#8) or ENCRYPTED; drawn if None.

    Returns:
        The text without a trailing newline, and the lines that must not survive.
    """
    kind = rng.choice(["RSA", "RSA", "EC", "OPENSSH", "", "ENCRYPTED"]) if kind is None else kind
    label, extra, width, skip = (kind + " PRIVATE KEY").strip(), "", 64, 0
    if kind == "EC":
        oid = bytes.fromhex("06082a8648ce3d030107")
        point = der(3, b"\x00\x04" + rng.randbytes(64))
        parts = der(2, b"\x01") + der(4, rng.randbytes(32))
        data = der(0x30, parts + der(0xA0, oid) + der(0xA1, point))
    elif kind == "OPENSSH":
        data, width, skip = _openssh(rng), 70, 1
    elif kind == "ENCRYPTED":
        label, data = "RSA PRIVATE KEY", rng.randbytes(1192)
        iv = rng.randbytes(16).hex().upper()
        extra = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{iv}\n\n"
    else:
        data = rsa_der(rng, rng.choice([1024, 2048]))
        if not kind:
            algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
            data = der(0x30, der(2, b"\x00") + algorithm + der(4, data))
    body = b64(data)
    lines = [body[i : i + width] for i in range(0, len(body), width)]
    text = f"-----BEGIN {label}-----\n{extra}" + "\n".join(lines) + f"\n-----END {label}-----"
    return text, [line for line in lines[skip:] if len(line) >= 16]


def service_account(rng: random.Random) -> tuple[dict[str, str], list[str]]:
    """A GCP service-account key as a dictionary, and the lines of its private key."""
    key, lines = pem(rng, "")
    project = f"{rng.choice(WORDS)}-{rng.choice(WORDS)}-{rng.randint(100000, 999999)}"
    mail = f"trainer@{project}.iam.gserviceaccount.com"
    info = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": pick(rng, HEX, 40),
        "private_key": key + "\n",
        "client_email": mail,
        "client_id": str(rng.randint(10**20, 10**21 - 1)),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return info, lines
