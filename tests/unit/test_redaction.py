"""What is taken out of captured text, what is left alone, and that the rest stays as it was."""

from __future__ import annotations

import base64
import random
import re
import string

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from corpora import everyday
from mlflow_weir.redaction import Redactor, without_userinfo
from mlflow_weir.secret_forms import RULES, SAID, Rule
from mlflow_weir.secret_names import MARK

ALPHANUMERIC = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
BASE64URL = ALPHANUMERIC + "-_"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----"


def drawn(alphabet: str, n: int, seed: int = 0) -> str:
    """Draw a string that has a letter and a digit, the same each time."""
    found = "".join(random.Random(f"{alphabet}{n}{seed}").choices(alphabet, k=n - 2))
    return f"{found}a7"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# What the line holds, the secret being between the two marks; nothing outside them may change.
SECRETS = {
    "AWS key id": "boto3 uses ⟪AKIA" + drawn(string.ascii_uppercase, 16)[:14].upper() + "Q7⟫ here",
    "AWS secret": f"aws_secret_access_key = ⟪{drawn(ALPHANUMERIC + '/+', 40)}⟫",
    "GitHub": f"git clone with ⟪ghp_{drawn(ALPHANUMERIC, 36)}⟫",
    "GitHub fine-grained": f'"⟪github_pat_{drawn(ALPHANUMERIC + "_", 82)}⟫"',
    "GitLab": f"PRIVATE-TOKEN: ⟪glpat-{drawn(BASE64URL, 20)}⟫",
    "Hugging Face": f'login(token="⟪hf_{drawn(ALPHANUMERIC, 34)}⟫")',
    "OpenAI": f"OPENAI_API_KEY=⟪sk-proj-{drawn(BASE64URL, 60)}⟫",
    "Anthropic": f"using ⟪sk-ant-api03-{drawn(BASE64URL, 90)}⟫",
    "Slack": f"⟪xoxb-{drawn(string.digits, 12)}-{drawn(ALPHANUMERIC, 24)}⟫",
    "Slack hook": f"https://hooks.slack.com/services/⟪T01/B02/{drawn(ALPHANUMERIC, 24)}⟫",
    "Stripe": f"stripe.api_key = '⟪sk_live_{drawn(ALPHANUMERIC, 24)}⟫'",
    "Google": f"?key=⟪AIza{drawn(BASE64URL, 35)}⟫",
    "JWT": f"got ⟪eyJhbGciOiJIUzI1NiJ9.eyJ{drawn(BASE64URL, 30)}.{drawn(BASE64URL, 43)}⟫ back",
    "npm": f"//registry.npmjs.org/:_authToken=⟪npm_{drawn(ALPHANUMERIC, 36)}⟫",
    "PyPI": f"password = ⟪pypi-AgEIcHlwaS5vcmc{drawn(BASE64URL, 60)}⟫",
    "SendGrid": f"⟪SG.{drawn(BASE64URL, 22)}.{drawn(BASE64URL, 43)}⟫",
    "Databricks": f"host, ⟪dapi{drawn(HEX, 32)}⟫",
    "Telegram": f"bot⟪123456789:AA{drawn(BASE64URL, 33)}⟫/getMe",
    "bearer": f"curl -H 'Authorization: Bearer ⟪{drawn(ALPHANUMERIC, 20)}⟫' x",
    "basic": '{"authorization": "Basic ⟪dXNlcjpwYXNzd29yZA==⟫"}',
    "address": "DATABASE = postgresql://⟪me:pa55:word⟫@db.example.com:5432/x",
    "token in an address": f"git clone https://⟪{drawn(ALPHANUMERIC, 40)}⟫@example.com/a.git",
    "Azure": f"EndpointsProtocol=https;AccountKey=⟪{drawn(ALPHANUMERIC, 86)}==⟫;E=1",
    "Azure signature": f"https://a.blob.example/c?sv=1&sig=⟪{drawn(ALPHANUMERIC, 43)}%3D⟫&se=2",
    "W&B": f"WANDB_API_KEY: ⟪{drawn(HEX, 40)}⟫",
    "password, quoted": "db.connect(user='me', password='⟪correct horse7⟫')",
    "password, shell": "export DB_PASSWORD=⟪correcthorse⟫",
    "password, json": '{"db_password": "⟪hunter2⟫", "port": 5432}',
    "password, yaml": "  password: ⟪Hunter2hunter⟫",
    "password, dict": "os.environ['PGPASSWORD'] = '⟪letmein!⟫'",
    "password, option": "$ mysql --password ⟪hunter2⟫ -h db",
    "client secret": f"client_secret => '⟪{drawn(ALPHANUMERIC, 30)}⟫'",
    "annotated": f'API_KEY: str = "⟪{drawn(ALPHANUMERIC, 30)}⟫"',
    "escaped json": f'{{\\"api_key\\": \\"⟪{drawn(ALPHANUMERIC, 30)}⟫\\"}}',
    "NVIDIA": f"⟪nvapi-{drawn(BASE64URL, 64)}⟫",
    "Kaggle": f"export KAGGLE=⟪KGAT_{drawn(HEX, 32)}⟫",
    "Neptune": f"init(⟪eyJhcGlfYWRkcmVzcyI6{drawn(ALPHANUMERIC, 90)}⟫)",
    "Alibaba": f"id ⟪LTAI5t{drawn(ALPHANUMERIC, 18)}⟫",
    "OpenShift": f"oc login --token=⟪sha256~{drawn(BASE64URL, 43)}⟫",
    "Google, short": f"⟪1//0{drawn(BASE64URL, 50)}⟫",
    "wandb login": f"$ wandb login ⟪{drawn(HEX, 40)}⟫",
    "docker login": "docker login -u me -p ⟪hunter22⟫ registry.example.com",
    "netrc": f"machine api.wandb.ai login user password ⟪{drawn(HEX, 40)}⟫",
    "curl": "curl -s -u me:⟪hunter22⟫ https://example.com/x",
    "in a patch": f'+TOKEN = "⟪{drawn(ALPHANUMERIC, 30)}⟫"',
}


@pytest.mark.parametrize("marked", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_taken_out_and_nothing_beside_it(marked: str) -> None:
    line = marked.replace("⟪", "").replace("⟫", "")
    secret = marked.partition("⟪")[2].partition("⟫")[0]
    redactor = Redactor()
    found = redactor.text(f"before\n{line}\nafter\n")
    assert secret not in found
    first, _, last = found.partition(f"\n{line.partition(secret)[0]}"[:9])
    assert (first, found.splitlines()[2]) == ("before", "after"), last
    assert redactor.n_redacted >= 1
    before, _, after = marked.partition("⟪")[0], None, marked.partition("⟫")[2]
    assert re.fullmatch(
        re.escape(before) + r"\S*" + re.escape(MARK.decode()) + r"\S*" + re.escape(after),
        found.splitlines()[1],
    ), found


HARMLESS = """
use_cls_token=True
max_tokens: 4096
max_new_tokens = 1_000
pad_token = "<pad>"
tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
eos_token_id=50256
bos_token='<|begin_of_text|>'
password = os.environ["DB_PASSWORD"]
password = getpass.getpass("Password: ")
password: Optional[str] = None
def login(token: str, password: str = "") -> None:
token = args.token
self.token = token
auth=(user, password)
api_key=settings.OPENAI_API_KEY.get_secret_value()
token: ${{ secrets.GITHUB_TOKEN }}
password: ${DB_PASSWORD}
password = "{{ vault.password }}"
token_count = 512
tokens/s=12345.6
commit 0123456789abcdef0123456789abcdef01234567
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    --hash=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
index 83db48f84ec878fbfb30b46d16630e944e34f205..0000000000000000000000000000000000000000 100644
run 3f2504e0-4f89-41d3-9a0c-0305e82c3301 finished
key='loss'
sort_key = lambda pair: pair[1]
key, subkey = jax.random.split(key)
cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
https://huggingface.co/bert-base-uncased/resolve/main/special_tokens_map.json
git@github.com:team/project.git
ssh://git@github.com/team/project.git
https://example.com/a@b/c
token_path='checkpoints/step-1000/tokenizer_v2.json'
num_passes=10, bypass=True, compass=3
keyword: 'abc123def456ghi789'
author: Jane Doe <jane@example.com>
attn_auth=1, monkey = "banana split 42"
secret_sauce_dropout: 0.1
The password: it must be longer than eight characters.
token accuracy: 0.9123456789012345
Epoch 12/90: 100%|##########| 391/391 [00:31<00:00, 12.41it/s, loss=0.123, tokens=1.2e6]
mask_token_embedding.weight: torch.Size([1, 768])
model.layers.11.self_attn.k_proj.weight
train_loss_per_token_normalised_by_sequence_length_v2
from transformers.models.llama.tokenization_llama_fast import LlamaTokenizerFast
/home/user/experiments/2026-11-22/resnet50-imagenet-bs256-lr0.1/checkpoints/epoch_12.pt
wandb_project = "my-project-2026", entity="team"
session_id = None
cookie = None
-----BEGIN CERTIFICATE-----
ssh-ed25519-cert-v01@openssh.com
risk-assessment-2026-report-final-version
task-00001-of-00128-shard-of-dataset
sk-learn is not a key, nor is sk-toolkit-for-everyone
EOS_TOKEN=</s>
api-3f2504e0-4f89-41d3-9a0c-0305e82c3301 is a run of the api
fw_allgatherparametershandlesofmodules
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
python -u train.py --user me
please log in: the login page asks for a password twice
docker run -p 8888:8888 -it image
PAD_TOKEN_ID=0
SECRET=changeme
""".strip().splitlines()


@pytest.mark.parametrize("line", HARMLESS)
def test_everyday_lines_are_left_alone(line: str) -> None:
    redactor = Redactor()
    for text in (line, f"+{line}", f"    {line}\n"):
        assert redactor.block(text.encode(), is_source=True).decode() == text
    assert redactor.n_redacted == 0


def test_a_private_key_goes_and_its_lines_stay() -> None:
    body = "\n".join(drawn(ALPHANUMERIC, 70, seed) for seed in range(20))
    text = f"one\n{PEM.format(body)}\ntwo\n"
    for lead in ("", "+", "    "):
        led = "".join(f"{lead}{line}" for line in text.splitlines(keepends=True))
        redactor = Redactor()
        found = redactor.text(led).splitlines()
        assert len(found) == len(led.splitlines())
        assert found[0] == f"{lead}one"
        assert found[-1] == f"{lead}two"
        assert set(found[2:-2]) == {f"{lead}[redacted]"}
        assert redactor.counts == {"private key": 1}


def test_a_private_key_that_comes_in_pieces_goes_too() -> None:
    body = "\n".join(drawn(ALPHANUMERIC, 64, seed) for seed in range(10))
    lines = f"{PEM.format(body)}\nnext\n".splitlines(keepends=True)
    redactor = Redactor()
    found = "".join(redactor.text(line) for line in lines)
    assert not any(line in found for line in body.splitlines())
    assert found.endswith("-----END OPENSSH PRIVATE KEY-----\nnext\n")


def test_a_private_key_in_one_line_of_json_goes() -> None:
    body = "\\n".join(drawn(ALPHANUMERIC, 64, seed) for seed in range(3))
    text = f'{{"private_key": "{PEM.format(body)}\\n", "type": "service_account"}}'.replace(
        "\n", "\\n"
    )
    found = Redactor().text(text)
    assert body[:30] not in found
    assert '"type": "service_account"' in found


def test_a_private_key_that_never_ends_does_not_swallow_the_rest() -> None:
    text = "-----BEGIN RSA PRIVATE KEY-----\n" + "a line of text\n" * 1000
    assert Redactor().text(text).count("a line of text") >= 790


def test_random_looking_values_go_from_source_only() -> None:
    line = f'x = "{drawn(ALPHANUMERIC, 44)}"'.encode()
    assert Redactor().block(line, is_source=True) == b'x = "[redacted]"'
    assert Redactor().block(line) == line


def test_options_named_like_secrets_lose_their_values() -> None:
    words = ["train.py", "--api-key", "abc", "--lr", "0.1", "--hf-token=xyz", "--db.password", "p"]
    redactor = Redactor()
    assert redactor.argv(words) == [
        "train.py", "--api-key", "[redacted]", "--lr", "0.1", "--hf-token=[redacted]",
        "--db.password", "[redacted]",
    ]  # fmt: skip
    assert redactor.n_redacted == 3
    harmless = [
        "--pad-token",
        "--max-tokens",
        "5",
        "--tokenizer=bert",
        "--use-auth",
        "--keyword",
        "a",
    ]
    assert Redactor().argv(harmless) == harmless


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://user:pass@example.com/a.git", "https://example.com/a.git"),
        ("https://TOKEN:x-oauth-basic@example.com/a.git", "https://example.com/a.git"),
        ("https://TOKEN@example.com", "https://example.com"),
        ("https://u:p@ss@example.com/a", "https://example.com/a"),
        ("git@github.com:team/a.git", "git@github.com:team/a.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
        ("https://example.com/@scope/a", "https://example.com/@scope/a"),
    ],
)
def test_an_address_loses_its_userinfo(address: str, wanted: str) -> None:
    assert without_userinfo(address) == wanted


def test_users_add_patterns_of_their_own() -> None:
    redactor = Redactor([r"ACME-\d{6}", r"ticket (?P<secret>\w+)"])
    assert redactor.text("ACME-123456 and ticket abc, ACME-12") == (
        "[redacted] and ticket [redacted], ACME-12"
    )
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression"):
        Redactor(["("])
    with pytest.raises(ValueError, match="matches nothing at all"):
        Redactor(["a*"])


@given(st.binary(max_size=2000))
def test_any_bytes_pass_and_lines_stay_lines(block: bytes) -> None:
    found = Redactor().block(block, is_source=True)
    assert found.count(b"\n") == block.count(b"\n")


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters="\n"), max_size=200))
def test_what_is_redacted_twice_does_not_change(line: str) -> None:
    once = Redactor().text(line)
    assert Redactor().text(once) == once


def test_a_very_long_line_takes_no_longer_than_its_length() -> None:
    for piece in ("a", "token=", "key: '", "https://", "--password ", "eyJ", "passpasspass_", '"'):
        Redactor().text(piece * (200_000 // len(piece)))  # quadratic, this takes minutes
    for piece in ("DB_PASSWORD=hunter22 ", "ENV A_PASSWORD a1b2c3d4e5 ", "password is a1b2c3d4 "):
        found = Redactor().text(piece * (400_000 // len(piece)))
        assert "a1b2" not in found
        assert "hunter22" not in found


@pytest.mark.parametrize("rule", [*RULES, *SAID], ids=lambda rule: rule.name)
@given(data=st.data())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_has_a_rules_form_is_found(rule: Rule, data: st.DataObject) -> None:
    token = data.draw(st.from_regex(rule.pattern, fullmatch=True))
    assume(rule.pattern.search(b"see " + token) and b"\n" not in token)
    assume(b"x" * 12 not in token.lower())  # nobody's
    found = Redactor().block(b"see " + token + b"\n")
    assert MARK in found, token


def test_what_was_harmless_hides_no_secret_of_the_same_shape() -> None:
    redactor = Redactor([r"ACME-4\d{5}"])
    assert redactor.text("ACME-512345\n") == "ACME-512345\n"
    assert redactor.text("ACME-412345\n") == "[redacted]\n"
    body = "\n".join(drawn(ALPHANUMERIC, 64, seed) for seed in range(3))
    lines = f"{body}\nstep 1 of 2\n"
    assert redactor.text(lines) == lines
    redacted = redactor.text(f"{PEM.format(body)}\nstep 2 of 2\n")
    assert body[:64] not in redacted
    assert redacted.endswith("step 2 of 2\n")


def test_lines_that_repeat_are_redacted_each_time_and_stay_in_their_places() -> None:
    line = f"step {{}}: token ghp_{drawn(ALPHANUMERIC, 36)}\nloss {{}}\n"
    text = "".join(line.format(number, number) for number in range(100))
    redactor = Redactor()
    for _ in range(2):
        found = redactor.text(text).splitlines()
        assert found[::2] == [f"step {number}: token [redacted]" for number in range(100)]
        assert found[1::2] == [f"loss {number}" for number in range(100)]
    assert redactor.n_redacted == 200


def test_every_rule_has_a_name_and_its_literals_are_what_its_pattern_needs() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.literals for rule in RULES)


@pytest.mark.parametrize("is_source", [False, True])
def test_secrets_under_everyday_names_and_in_commands(is_source: bool) -> None:
    survived = []
    for text, secret in everyday.secrets():
        lead = "+" if is_source else ""
        block = "".join(f"{lead}{line}\n" for line in text.split("\n"))
        found = Redactor().block(block.encode(), is_source=is_source).decode()
        halves = (secret[: len(secret) // 2], secret[len(secret) // 2 :])
        if any(one in found for one in (secret, *(half for half in halves if len(half) >= 12))):
            survived.append(text)
    assert not survived


def test_lines_like_them_are_left_alone() -> None:
    altered = [
        line
        for line in everyday.LOOK_ALIKES
        for lead, is_source in (("", False), ("+", True))
        if Redactor().block(f"{lead}{line}\n".encode(), is_source=is_source).decode()
        != f"{lead}{line}\n"
    ]
    assert not altered


@pytest.mark.parametrize(
    "text",
    [
        "send: 'AUTH PLAIN ⟪{}⟫\\r\\n'".format(b64("\0jo@example.net\0" + "hunter2Hunter2")),
        "bytes.fromhex('⟪" + f"ghp_{drawn(ALPHANUMERIC, 36)}".encode().hex() + "⟫')",
        "blob: ⟪" + b64(b64(f"token=ghp_{drawn(ALPHANUMERIC, 36)}")) + "⟫",
        f"-----BEGIN OpenVPN Static key V1-----\n⟪{drawn(HEX, 32)}⟫",
        f"requirepass ⟪{drawn(ALPHANUMERIC, 14)}⟫",
    ],
)
def test_secrets_that_are_packed_or_stand_alone(text: str) -> None:
    secret = text.partition("⟪")[2].partition("⟫")[0]
    found = Redactor().text(text.replace("⟪", "").replace("⟫", "") + "\n")
    assert secret not in found


@pytest.mark.parametrize(
    "words",
    [
        ["--openai_key", "⟪" + drawn(HEX, 32) + "⟫"],
        ["--db_password_prod", "⟪hunter22⟫"],
        ["+api.key=⟪" + drawn(HEX, 32) + "⟫"],
        ["--encryption-key", "⟪" + drawn(ALPHANUMERIC, 43) + "=⟫"],
        ["--apiKeyProd", "⟪" + drawn(HEX, 32) + "⟫"],
    ],
)
def test_options_whose_names_go_on(words: list[str]) -> None:
    plain = [word.replace("⟪", "").replace("⟫", "") for word in words]
    secret = "".join(words).partition("⟪")[2].partition("⟫")[0]
    assert secret not in " ".join(Redactor().argv(["train.py", *plain]))


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("SECRET_KEY=&k2)9x$ab<cd83h!fjq", "SECRET_KEY=[redacted]"),
        ("export DB_PASSWORD=a&b<c)d1 # it", "export DB_PASSWORD=[redacted] # it"),
        ("used sl." + "aB3_" * 34, "used [redacted]"),
        ("db.lan.org:5432:metrics:alice:S3cr&tX9", "db.lan.org:5432:metrics:alice:[redacted]"),
        ("+*:*:*:bob:kw92jsla", "+*:*:*:bob:[redacted]"),
    ],
)
def test_what_once_stayed_goes(line: str, clean: str) -> None:
    assert Redactor().text(line) == clean


@pytest.mark.parametrize(
    "line",
    [
        "password: !vault |",
        "SECRET_ARN=arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
        "password: op://team/database/password",
        "sed -i 's/password=.*/password=***/' cfg",
        "export HF_TOKEN=hf_" + "x" * 34,
        "git clone https://jdoe@bitbucket.org/team/repo.git",
        "FOO_TOKEN=a,b,c",
        "DB_PASSWORD=$(cat /run/secrets/db)",
        "trainer.py:5432:17:step:went well",
    ],
)
def test_what_once_went_stays(line: str) -> None:
    redactor = Redactor()
    assert (redactor.text(line), redactor.n_redacted) == (line, 0)
