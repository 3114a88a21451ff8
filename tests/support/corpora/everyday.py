"""Secrets under names, in calls and in commands of everyday tools, and lines like them.

Written by somebody who had read the redactor and looked for what it lacked; it was then changed to
find them, so they say nothing of kinds that nobody thought of. A secret stands between the two
marks; ``@hex32@`` and the like are drawn anew.
"""

from __future__ import annotations

import random
import re
import string

_ALPHABETS = {
    "hex": "0123456789abcdef",
    "drawn": string.ascii_letters + string.digits,
    "small": string.ascii_lowercase + string.digits,
    "capital": string.ascii_uppercase + string.digits,
}
_PASSWORDS = ("Otter-maple-481!", "hunter2Hunter2", "Falcon#2231xy", "s3cr3tPhrase99")

# fmt: off
SECRETS = (
    # What a set written by somebody who had not read the redactor found missing.
    "az storage blob upload --account-name runs --account-key ⟪@drawn86@==⟫",
    "GET /v1/runs?limit=10&key=⟪@drawn39@⟫&page=2",
    "ENDPOINT=https://runs.core.windows.net;ACCOUNTKEY=⟪@drawn86@==⟫",
    "Your API key is: ⟪@drawn32@⟫",
    "your auth token is ⟪@drawn32@⟫",
    'if password != "⟪@password@⟫":',
    'if (apiKey !== "⟪@drawn24@⟫") {',
    "curl -b 'session=⟪@hex32@⟫' https://runs.internal/api",
    "SET PASSWORD FOR 'ml'@'localhost' = '⟪@password@⟫';",
    "htpasswd -b .htpasswd jdoe ⟪@drawn14@⟫",
    '"Default": "Server=db;Database=runs;User Id=sa;Password=⟪@password@⟫;Encrypt=True"',
    "Data Source=db;User ID=sa;Pwd=⟪@password@⟫;",
    "jdbc:postgresql://db/runs?user=jo&password=⟪@password@⟫&ssl=true",
    "jdbc:mysql://db:3306/runs?user=root&password=⟪@password@⟫",
    'conn = psycopg.connect("host=db dbname=runs user=jo password=⟪@password@⟫")',
    "DRIVER={ODBC Driver 18 for SQL Server};SERVER=x;UID=sa;PWD=⟪@password@⟫",
    "sqlplus system/⟪@password@⟫@//db:1521/XE",
    "token sk.eyJ1Ijoi@drawn40@.⟪@drawn22@⟫",
    "gitlab-runner register --registration-token GR1348941⟪@drawn20@⟫",
    "using GR1348941⟪@drawn20@⟫",
    "secret_key_base: ⟪@hex128@⟫",
    "AIRFLOW__CORE__FERNET_KEY=⟪@drawn43@=⟫",
    "fernet_key = ⟪@drawn43@=⟫",
    'DB_PASSWORD_PROD = "⟪@password@⟫"',
    "OPENAI_API_KEY_2=⟪@hex32@⟫",
    "export API_TOKEN_STAGING=⟪@hex40@⟫",
    "password1: ⟪@password@⟫",
    'smtp_password_dev: "⟪@password@⟫"',
    "Passwort: ⟪@password@⟫",
    'contraseña = "⟪@password@⟫"',
    'db_passwort = "⟪@password@⟫"',
    "密码: ⟪@password@⟫",
    "пароль: ⟪@password@⟫",
    'mot_de_passe = "⟪@password@⟫"',
    'senha: "⟪@password@⟫"',
    "Ocp-Apim-Subscription-Key: ⟪@hex32@⟫",
    '"subscription_key": "⟪@hex32@⟫"',
    "x-functions-key: ⟪@drawn52@==⟫",
    "X-Api-Key: ⟪@hex32@⟫",
    "x-rapidapi-key: ⟪@small50@⟫",
    "X-Auth-Token: ⟪@hex32@⟫",
    "{'X-Token': '⟪@hex32@⟫'}",
    'MNEMONIC="⟪ripple otter maple harbor velvet pixel walnut ember copper orbit thistle zebra⟫"',
    '"adminPassword": { "value": "⟪@password@⟫" }',
    '<add key="ApiKey" value="⟪@hex32@⟫" />',
    '<add key="DbPassword" value="⟪@password@⟫" />',
    '<property name="hibernate.connection.password">⟪@password@⟫</property>',
    "<property><name>fs.s3a.secret.key</name><value>⟪@drawn40@⟫</value></property>",
    "spark.hadoop.fs.s3a.secret.key ⟪@drawn40@⟫",
    "--conf spark.hadoop.fs.s3a.secret.key=⟪@drawn40@⟫",
    "CONSUMER_KEY=⟪@drawn25@⟫",
    "ADMIN_KEY=⟪@hex32@⟫",
    "APP_KEY=base64:⟪@drawn43@=⟫",
    "JWT_KEY=⟪@hex64@⟫",
    "application_key: ⟪@hex40@⟫",
    "ALGOLIA_ADMIN_KEY=⟪@hex32@⟫",
    'shared_key = "⟪@drawn44@⟫"',
    "MJ_APIKEY_PRIVATE=⟪@hex32@⟫",
    "PUSHER_APP_SECRET=⟪@hex20@⟫",
    "https://open.feishu.cn/open-apis/bot/v2/hook/⟪@hex8@-@hex4@-@hex4@-@hex4@-@hex12@⟫",
    "https://oapi.dingtalk.com/robot/send?access_token=⟪@hex64@⟫",
    "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=⟪@hex8@-@hex4@-@hex4@-@hex4@-@hex12@⟫",
    "https://hooks.zapier.com/hooks/catch/1234567/⟪@small7@⟫/",
    "https://maker.ifttt.com/trigger/done/with/key/⟪@drawn22@⟫",
    "https://mattermost.example.com/hooks/⟪@small26@⟫",
    "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=AIza@drawn35@&token=⟪@drawn43@⟫",
    "vastai set api-key ⟪@hex64@⟫",
    "runpodctl config --apiKey ⟪@capital40@⟫",
    "modal token set --token-id ak-⟪@drawn22@⟫ --token-secret as-@drawn22@",
    "modal token set --token-id ak-@drawn22@ --token-secret ⟪as-@drawn22@⟫",
    "dvc remote modify --local myremote secret_access_key '⟪@drawn40@⟫'",
    "dvc remote modify --local myremote password ⟪@password@⟫",
    "mc alias set minio http://minio:9000 trainer ⟪@drawn32@⟫",
    "ossutil config -e oss.example -i LTAI@drawn20@ -k ⟪@drawn30@⟫",
    "s3cmd --access_key=AKIA@capital16@ --secret_key=⟪@drawn40@⟫ ls",
    "ray start --head --redis-password='⟪@password@⟫'",
    "rclone config create r s3 access_key_id AKIA@capital16@ secret_access_key ⟪@drawn40@⟫",
    "prefect cloud login -k pnu_⟪@drawn36@⟫",
    "kubeadm join 10.0.0.1:6443 --token ⟪@small6@.@small16@⟫",
    'token = jwt.encode(payload, "⟪@password@⟫", algorithm="HS256")',
    'client = SearchClient(url, AzureKeyCredential("⟪@hex32@⟫"))',
    'keyring.set_password("mlflow", "jo", "⟪@password@⟫")',
    'auth = HTTPDigestAuth("jo", "⟪@password@⟫")',
    'os.environ.setdefault("DB_PASSWORD", "⟪@password@⟫")',
    'pw = os.getenv("DB_PASSWORD", "⟪@password@⟫")',
    'fs = s3fs.S3FileSystem(key="AKIA@capital16@", secret="⟪@drawn40@⟫")',
    'client = Minio("minio:9000", access_key="trainer", secret_key="⟪@password@⟫")',
    'app.config["SECRET_KEY"] = "⟪@password@⟫"',
    'dagshub.auth.add_app_token(token="⟪@hex40@⟫")',
    'ssh.connect("gpu-7", username="jo", password="⟪@password@⟫")',
    "%env DB_PASSWORD=⟪@password@⟫",
    "%env HF_TOKEN ⟪@hex40@⟫",
    "root:⟪$6$rounds=5000$@drawn16@$@drawn86@⟫:19000:0",
    "jo:⟪$2b$12$@drawn53@⟫",
    "jo:⟪$apr1$@drawn8@$@drawn22@⟫",
    "GET /callback?code=⟪4/0A@drawn70@⟫&scope=email",
    '"refresh_token": "⟪@drawn64@⟫"',
    "refresh_token=⟪@drawn64@⟫&grant_type=refresh_token",
    "client_id=abc&client_secret=⟪@drawn32@⟫",
    "spring.datasource.password=⟪@password@⟫",
    "ALTER USER jo WITH PASSWORD '⟪@password@⟫';",
    "CREATE USER jo IDENTIFIED BY '⟪@password@⟫'",
    "CREATE SECRET (TYPE S3, KEY_ID 'AKIA@capital16@', SECRET '⟪@drawn40@⟫')",
    "CREDENTIALS=(AWS_KEY_ID='AKIA@capital16@' AWS_SECRET_KEY='⟪@drawn40@⟫')",
    "ansible_ssh_pass: ⟪@password@⟫",
    "ansible_become_password=⟪@password@⟫",
    "psk=⟪@password@⟫",
    "ldapsearch -x -D cn=admin -w ⟪@password@⟫",
    "az login --service-principal -u app -p ⟪@drawn34@⟫ --tenant t",
    "openssl enc -aes-256-cbc -pass pass:⟪@password@⟫ -in a",
    "gpg --batch --passphrase ⟪@password@⟫ -d x.gpg",
    "mongodump -u jo -p ⟪@password@⟫ --db runs",
    "echo ⟪@password@⟫ | docker login -u jo --password-stdin",
    "&quot;password&quot;: &quot;⟪@password@⟫&quot;",
    '<input type="hidden" name="api_token" value="⟪@hex40@⟫">',
    "the password is ⟪@password@⟫",
    "Your new API key is ⟪@hex40@⟫",
    "Generated password for admin: ⟪@password@⟫",
    "Username for admin is admin and password is ⟪@password@⟫",
    "Airflow login: Username: admin  Password: ⟪@password@⟫",
    "api.key=⟪@hex32@⟫",
    "wandb.key: ⟪@hex40@⟫",
    'variable "db_password" { default = "⟪@password@⟫" }',
    'variable "db_password" {\n  type = string\n  default = "⟪@password@⟫"\n}',
    "- name: DB_PASSWORD\n  value: ⟪@password@⟫",
    "ENV DB_PASSWORD ⟪@password@⟫",
    "ARG NPM_TOKEN=⟪@hex36@⟫",
    "DB_PASSWORD := ⟪@password@⟫",
    '$env:DB_PASSWORD = "⟪@password@⟫"',
    'ConvertTo-SecureString "⟪@password@⟫" -AsPlainText -Force',
    'const apiKey = "⟪@hex32@⟫"',
    'password := "⟪@password@⟫"',
    'let api_key: &str = "⟪@hex32@⟫";',
    "apiKey: '⟪@hex32@⟫',",
    "const { token = '⟪@hex32@⟫' } = opts",
    'if (token := "⟪@hex40@⟫"):',
    'headers = {"Authorization": f"Token ⟪@hex40@⟫"}',
    "dict(user='jo', passwd='⟪@password@⟫')",
    "password    ⟪@password@⟫\nName: 0, dtype: object",
    "│ password │ ⟪@password@⟫ │",
    'API_KEYS = ["⟪@hex32@⟫", "@hex32@"]',
    'TOKENS = ["@hex32@", "⟪@hex32@⟫"]',
)
# fmt: on


def secrets(seed: int = 20261126) -> list[tuple[str, str]]:
    """Return each text with a secret in it, and the secret."""
    rng = random.Random(seed)

    def fill(match: re.Match[str]) -> str:
        if match[1] == "password":
            return rng.choice(_PASSWORDS)
        n = int(match[2])
        return "".join(rng.choices(_ALPHABETS[match[1]], k=n - 2)) + "a7"

    found = []
    for text in SECRETS:
        filled = re.sub(r"@(hex|drawn|small|capital|password)(\d*)@", fill, text)
        before, _, rest = filled.partition("⟪")
        secret, _, after = rest.partition("⟫")
        found.append((before + secret + after, secret))
    return found


LOOK_ALIKES = r"""
gdown.download(id="1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms")
url = "https://drive.google.com/uc?id=1Qc3p9XdR7ZkL2vTyB8nWm4HsJfGaEoUi"
url = "https://drive.google.com/file/d/1Qc3p9XdR7ZkL2vTyB8nWm4HsJfGaEoUi/view?usp=sharing"
sheet = "https://docs.google.com/spreadsheets/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit"
    github.com/stretchr/testify v1.8.4 h1:CcVxjf3Q8PM0mHUKJCdn+eZZtm5yQwehR5yeSVQQcUk=
  sha256 = "sha256-0ZfWqY5w3V8rj2QkX9bN1mTg4HsLcPdEuAoRiKxVyJk=";
 _ZN2at6native12_GLOBAL__N_124mse_loss_backward_outERNS_6TensorERKS2_S5_S5_l
undefined symbol: _ZN3c1017RegisterOperatorsD1Ev
libtorch_cuda.so(_ZN5torch8autograd6Engine17evaluate_functionERSt10shared_ptrINS0_9Graph+0x5c)
trainer-7d9f8b6c5d-x2x9z   1/1     Running   0          3m
smiles = "CC(C)CC1=CC=C(C=C1)C(C)C(=O)OC2CCCCC2N3CCOCC3"
protein = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"
ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
run = "https://wandb.ai/team/proj/runs/3k2j9x1q"
Tracking run with wandb version 0.17.0, run id 3k2j9x1q
MLflow run ID 5f2b8c1d9e3a4f6b8c7d6e5f4a3b2c1d
checkpoint = "s3://bucket/exp/2026-11-22T10-11-12Z/rank0/epoch=3-step=12000-val_loss=0.1234.ckpt"
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
ETag: "33a64df551425fcc55e4d42a148795d9f25f89d4"
arn:aws:sagemaker:eu-west-1:123456789012:training-job/weir-2026-11-22-10-11-12-123
ami = "ami-0abcd1234ef567890"
instance i-0abcd1234ef567890 started
torch.hub.load_state_dict_from_url("https://download.pytorch.org/models/resnet50-11ad3fa6.pth")
"https://huggingface.co/datasets/HuggingFaceFW/fineweb-edu/resolve/main/data/CC-MAIN-2024-10/train-00000-of-00014.parquet"
Loading checkpoint shards: 100%|██████████| 4/4 [00:06<00:00,  1.62s/it]
tokenizer.add_special_tokens({"pad_token": "<|reserved_special_token_0|>"})
loss/token=2.3456 ppl=10.44 grad_norm=0.993 tokens_per_s=1.23e+05
Number of tokens: 1_234_567_890, passwords dataset rockyou subset: 14,344,391 lines
auth_type: none
secret_number = 42
passes: 3
password_min_length = 12
password_field = "password"
key_dim=64, value_dim=64, token_dim=768
session = requests.Session()
session = Session(engine)
with tf.Session() as sess:
cookie_cutter: v1.2
keys: ['input_ids', 'attention_mask', 'labels']
primary_key = "experiment_id"
foreign_key="runs.run_uuid"
partition_key = "user_id_hash_2024_v2"
sort_key: created_at_desc_2024
dict_keys(['loss', 'logits'])
keypoint_key = "left_shoulder_2d_v3"
cache_key = "f3a9c1b2d4e5f60718293a4b5c6d7e8f"
cache_key: preprocess-v3-2f1c9a8b7d6e5f40
registry_key = HKEY_LOCAL_MACHINE\SOFTWARE\NVIDIA Corporation\GPU Computing Toolkit\CUDA\v12.4
s3_key = "datasets/imagenet/train/n01440764/n01440764_10026.JPEG"
object_key="runs/2026/11/22/model_v12_final.pt"
api_version = "2024-10-21-preview"
token_url = "https://auth.example.com/oauth2/v1/token"
tokenizer_path = "/models/llama-3.1-8b/tokenizer.model"
password_hash_rounds: 12
access_level: 3
author = "Jan de Vries <jan@example.com>"
authors = ["A. B. Author2024"]
authentication_backend = django.contrib.auth.backends.ModelBackend
AUTH_USER_MODEL = 'accounts.User'
credentials_path = "~/.config/gcloud/application_default_credentials.json"
GOOGLE_APPLICATION_CREDENTIALS=/secrets/sa-2024.json
secret_name = "prod/db/password-2024"
secretName: trainer-registry-creds-v2
    secretKeyRef: {name: hub-token-2024, key: token}
    valueFrom: {secretKeyRef: {name: wandb, key: api-key}}
bearer_format = "JWT"
HF_TOKEN is not set, requests to the Hub are rate limited
WARNING: password authentication failed for user "jo" (attempt 3)
Please set your API key: export OPENAI_API_KEY=<your-key>
Enter password for jo@gpu-7:
no token found in /home/jo/.cache/huggingface/token
Token is valid (permission: read).
Your token has been saved to /home/jo/.cache/huggingface/token
[2026-11-22 10:11:12,123] {auth_manager.py:45} INFO - session_timeout=3600
token accuracy 0.91 | token loss 1.23456789012345
perplexity per token 12.3456789012345678
max_position_tokens=131072 rope_theta=500000.0
passthrough = True
compass_heading: 123.456
encompass=1
bypass_token_check: false
mlp_hidden = 4096; pw_conv = Conv2d(64, 128, 1)
pw = torch.randn(16, 16)
pwd = os.getcwd()
PWD=/home/jo/projects/weir-2024
pass = 3
pass_rate = 0.9876543210
passed = 12345678
test_pass: 99.12%
sas = sum_of_absolute_scores_2024
dsn = 12
pat = re.compile(r"(\d+)-(\w+)")
pattern = "epoch_{epoch:04d}_loss_{loss:.4f}"
hmac_digest = hashlib.sha256(data).hexdigest()
cred_interval = 0.95
sig = 0.05
significance = 1e-3
signature(model_fn) == inspect.signature(fn2)
code = "E501"
status_code=200 error_code=CUDA_ERROR_OUT_OF_MEMORY_2
?code=404&state=open
callback?code=200
the key is 42 layers deep
the password is required
the token is invalid or expired: 401
your api key is missing
password is incorrect
login with username and password
login with token authentication enabled
login: admin / dashboard (password protected)
requirepass is not set
AUTH PLAIN LOGIN CRAM-MD5
250-AUTH PLAIN LOGIN
jwt.encode(payload, settings.SECRET_KEY, algorithm="HS256")
jwt.decode(token, public_key, algorithms=["RS256"])
HTTPDigestAuth(user, password)
set_password(user, new_password)
psk_length = 8
base64: iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk
IDENTIFIED BY expr
cost: $2 per 1M tokens, $6 for output, total $12.50
echo $6 $2 | awk '{print $1}'
price: $apr1 = 3
API_KEYS = load_keys("keys.json")
api_keys: {}
tokens = ["[CLS]", "hello", "world2024", "[SEP]"]
TOKENS = ["<s>", "</s>", "<unk>"]
token_ids = [101, 7592, 2088, 102]
tokens: ['Ġthe', 'Ġquick', 'Ġbrown']
keys = ["layer1.0.conv1.weight", "layer1.0.bn1.running_mean2"]
mask_key = "attention_mask_2d"
app_key = "weir"
admin_key = None
shared_key_dim = 128
client_key_path = "/etc/ssl/client.key"
user_key: user_id
session_key = "train_2024_11_22"
message_key = "kafka-partition-000123"
jwt_key_rotation_days = 30
consumer_key_deserializer=org.apache.kafka.common.serialization.StringDeserializer
subscription_key_header = "Ocp-Apim-Subscription-Key"
secret.key.length = 256
seed phrase model: "the cat sat on the mat and looked at the dog"
MNEMONIC_LENGTH=12
password1 = getpass()
password2: str
password_confirm = request.form["password"]
tokens_2 = tokens[1:]
token_2d = torch.zeros(3)
key_2 = jax.random.fold_in(key, 2)
api_key_env_var = "OPENAI_API_KEY"
api_key_name: X-Api-Key-2024
attribute_names = ["host", "username", "password", "port"]
curve_secretkey: Bytes | None = Bytes(allow_none=True, default_value=None)
an API that allows users to pass :class:`DTensor` s
password_policy = "min-12-chars-1-digit"
token_type = "bearer2"
token_embedding_0: Embedding(32000, 4096)
secret_santa_2024: list of 12 names
Passwort vergessen? Bitte wenden Sie sich an den Administrator 2024.
password_reset_url = "https://example.com/reset2024"
token_file_2024 = "/run/secrets/token"
""".strip("\n").split("\n")
