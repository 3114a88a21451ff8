"""The forms of secrets that are known by how they look.

Their issuers chose a prefix, a length and an alphabet so that a leaked one can be found; the forms
here follow their documentation and GitHub's list of supported secret-scanning patterns.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Before a token: not the inside of a word. After it: not more of the same.
_B = r"(?<![A-Za-z0-9_])"
_E = r"(?![A-Za-z0-9_])"


class Rule(NamedTuple):
    """A form of token.

    Attributes:
        name: For people.
        literals: One of them is in every such token, or begins it (``is_headed``).
        pattern: Matches it; the group ``secret`` is what goes, the whole match if there is none.
        is_run: All that the pattern looks at is letters, digits and ``_-+/=.~%``, or the end of
            such a run; else it is held against whole lines, which takes longer.
        is_headed: Every token begins with one of the literals, where no word goes on.
    """

    name: str
    literals: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    is_run: bool
    is_headed: bool


def _rule(
    name: str, literals: str, pattern: str, *, is_run: bool = True, is_headed: bool | None = None
) -> Rule:
    return Rule(
        name,
        tuple(literals.encode().split()),
        re.compile(pattern.encode()),
        is_run,
        is_run and pattern.startswith(_B) if is_headed is None else is_headed,
    )


RULES: tuple[Rule, ...] = (
    _rule(
        "AWS access key id",
        "AKIA ASIA ABIA ACCA AGPA AIDA AIPA ANPA ANVA AROA",
        rf"{_B}(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|AROA)[A-Z0-9]{{16}}{_E}",
    ),
    _rule("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", rf"{_B}gh[pousr]_[A-Za-z0-9_.-]{{30,520}}"),
    _rule("GitHub fine-grained token", "github_pat_", rf"{_B}github_pat_\w{{22,255}}"),
    _rule(
        "GitLab token",
        "glpat- gldt- glrt glcbt- glptt- gloas- glsoat- glft- glimt- glagent- glffct- glwt-",
        rf"{_B}gl(?:pat|dt|rtr?|cbt|ptt|oas|soat|ft|imt|agent|ffct|wt)-[\w.-]{{16,300}}",
    ),
    _rule("Hugging Face token", "hf_ api_org_", rf"{_B}(?:hf_|api_org_)[A-Za-z0-9]{{30,60}}{_E}"),
    # OpenAI, Anthropic, DeepSeek, OpenRouter, LiteLLM, Langfuse …
    _rule(
        "sk- key",
        "sk- pk-lf-",
        rf"{_B}(?:sk|pk-lf)-(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9][\w-]{{18,300}}",
    ),
    _rule(
        "Slack token",
        "xox xapp- xwfp-",
        rf"{_B}(?:xox[a-z](?:\.xox[a-z])?|xapp|xwfp)-[A-Za-z0-9-]{{15,300}}",
    ),
    _rule(
        "webhook address",
        "hooks.slack.com/ /api/webhooks/ webhook.office.com/",
        r"(?:hooks\.slack\.com/(?:services|workflows|triggers)/|/api/webhooks/\d{5,25}/"
        r"|webhook\.office\.com/webhookb2/)(?P<secret>[\w/@.+-]{20,400})",
        is_run=False,
    ),
    _rule(
        "webhook address, shorter",
        "/open-apis/bot/v2/hook/ /webhook/send?key= hooks.zapier.com/ maker.ifttt.com/ /hooks/",
        r"(?:/open-apis/bot/v2/hook/|/webhook/send\?key=(?=[\w-]{20})|hooks\.zapier\.com/hooks/catch/\d{1,12}/"
        r"|maker\.ifttt\.com/[\w/-]{1,100}/key/|/hooks/(?=[a-z0-9]{26}\b))(?P<secret>[\w-]{6,100})",
        is_run=False,
    ),
    _rule(
        "Stripe key",
        "sk_ rk_ pk_ whsec_",
        rf"{_B}(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{{16,255}}|whsec_[A-Za-z0-9+/=]{{24,80}})",
    ),
    _rule("Google API key", "AIza", rf"{_B}AIza[\w-]{{35}}(?![\w-])"),
    _rule(
        "Google OAuth secret",
        "ya29. GOCSPX- 1//0",
        rf"{_B}(?:ya29\.[\w-]{{20,2000}}|GOCSPX-[\w-]{{20,60}}|1//0[\w-]{{40,200}})",
    ),
    _rule(
        "JSON web token",
        "eyJ",
        rf"{_B}eyJ[\w-]{{10,4000}}\.(?:eyJ)?[\w-]{{6,8000}}\.[\w-]{{0,2000}}(?:\.[\w-]{{10,2000}}){{0,2}}",
    ),
    _rule("Mapbox token", "sk.eyJ", rf"{_B}sk\.eyJ[\w-]{{20,400}}\.[\w-]{{20,60}}"),
    _rule("GitLab runner's token", "GR1348941", rf"{_B}GR1348941[\w-]{{20}}(?![\w-])"),
    _rule(
        "Modal token",
        "ak- as-",
        rf"{_B}a[ks]-[A-Za-z0-9]{{22}}(?![\w-])",
    ),
    _rule("Google OAuth code", "4/0A", rf"{_B}4/0A[\w-]{{40,120}}"),
    _rule(
        "password's hash",
        "$",
        r"(?<![\w$])\$(?:[156y]|2[aby]|apr1|argon2(?:id|i|d)|scrypt)\$(?:[\w./=,-]{1,80}\$){0,3}(?=[\w./]{0,80}\d)[\w./]{22,100}",
        is_run=False,
    ),
    _rule("npm token", "npm_", rf"{_B}npm_[A-Za-z0-9]{{30,60}}{_E}"),
    _rule("PyPI token", "pypi-", rf"{_B}pypi-[\w-]{{30,400}}"),
    _rule("SendGrid key", "SG.", rf"{_B}SG\.[\w-]{{16,32}}\.[\w-]{{32,64}}"),
    _rule(
        "Mailgun or Mailchimp key",
        "key- -us",
        rf"{_B}(?:key-[0-9a-f]{{32}}|[0-9a-f]{{32}}-us\d{{1,2}}){_E}",
        is_headed=False,
    ),
    _rule("Twilio key", "SK AC", rf"{_B}(?:SK|AC)[0-9a-f]{{32}}{_E}"),
    _rule("Telegram bot token", ":AA", r"(?<!\d)\d{8,11}:AA[\w-]{30,40}", is_run=False),
    _rule(
        "Discord token",
        ".",
        rf"{_B}[MNO][A-Za-z\d_-]{{23,27}}\.[A-Za-z\d_-]{{6}}\.[A-Za-z\d_-]{{27,38}}(?![\w-])",
        is_headed=False,
    ),
    _rule(
        "Databricks token", "dapi dkea dose", rf"{_B}(?:dapi|dkea|dose)[0-9a-f]{{32}}(?:-\d)?{_E}"
    ),
    _rule("DigitalOcean token", "dop_v1_ doo_v1_ dor_v1_", rf"{_B}do[opr]_v1_[0-9a-f]{{60,70}}"),
    _rule(
        "Atlassian token",
        "ATATT3 ATCTT3 ATBB",
        rf"{_B}(?:AT[AC]TT3[\w=-]{{40,400}}|ATBB[A-Za-z0-9]{{24,60}})",
    ),
    _rule("Shopify token", "shp", rf"{_B}shp(?:at|ca|pa|ss)_[0-9a-fA-F]{{32}}{_E}"),
    _rule("Square token", "sq0 EAAA", rf"{_B}(?:sq0[a-z]{{3}}-[\w-]{{20,60}}|EAAA[\w-]{{56,70}})"),
    _rule("Docker token", "dckr_", rf"{_B}dckr_(?:pat|oat)_[\w-]{{20,60}}"),
    _rule("Vault token", "hvs. hvb. hvr.", rf"{_B}hv[sbr]\.[\w-]{{20,300}}"),
    _rule(
        "Terraform token",
        ".atlasv1.",
        rf"{_B}[A-Za-z0-9]{{14}}\.atlasv1\.[\w=-]{{40,100}}",
        is_headed=False,
    ),
    _rule("Pulumi token", "pul-", rf"{_B}pul-[0-9a-f]{{40}}{_E}"),
    _rule(
        "Grafana token",
        "glsa_ glc_ eyJrIjoi",
        rf"{_B}(?:glsa_[A-Za-z0-9]{{32}}_[0-9a-fA-F]{{8}}|glc_[A-Za-z0-9+/=]{{32,400}}"
        rf"|eyJrIjoi[\w=+/-]{{40,400}})",
    ),
    _rule("New Relic key", "NRAK- NRII- NRJS- NRRA-", rf"{_B}NR(?:AK|II|JS|RA)-[\w-]{{19,60}}"),
    _rule("Sentry token", "sntry", rf"{_B}sntry[a-z]_[\w=+/.-]{{30,400}}"),
    _rule("Doppler token", "dp.", rf"{_B}dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{{30,80}}"),
    _rule("Postman key", "PMAK-", rf"{_B}PMAK-[0-9a-f]{{24}}-[0-9a-f]{{34}}"),
    _rule(
        "Fly token",
        "fo1_ fm1r_ fm2_",
        rf"{_B}(?:fo1_[\w-]{{30,80}}|fm(?:1r|2)_[A-Za-z0-9+/=]{{30,2000}})",
    ),
    _rule("Replicate token", "r8_", rf"{_B}r8_[A-Za-z0-9]{{30,50}}{_E}"),
    _rule("Groq key", "gsk_", rf"{_B}gsk_[A-Za-z0-9]{{40,60}}{_E}"),
    _rule("Perplexity key", "pplx-", rf"{_B}pplx-[A-Za-z0-9]{{30,60}}{_E}"),
    _rule("xAI key", "xai-", rf"{_B}xai-[A-Za-z0-9]{{40,120}}{_E}"),
    _rule("Pinecone key", "pcsk_", rf"{_B}pcsk_\w{{30,120}}"),
    _rule(
        "LangSmith key",
        "lsv2_ ls__",
        rf"{_B}(?:lsv2_(?:pt|sk)_[0-9a-f]{{32}}_[0-9a-f]{{10}}|ls__[0-9a-f]{{32}})",
    ),
    _rule(
        "Supabase key",
        "sbp_ sb_",
        rf"{_B}(?:sbp_[0-9a-f]{{40}}|sb_(?:secret|publishable)_[\w-]{{20,60}})",
    ),
    _rule("PlanetScale token", "pscale_", rf"{_B}pscale_(?:tkn|pw|oauth)_[\w.-]{{30,70}}"),
    _rule("Figma token", "figd_ figo figu", rf"{_B}(?:figd_|fig[ou][hr]?_)[\w-]{{30,60}}"),
    _rule("Airtable token", "pat", rf"{_B}pat[A-Za-z0-9]{{14}}\.[0-9a-f]{{64}}"),
    _rule(
        "HubSpot token",
        "pat-",
        rf"{_B}pat-(?:na|eu|ap)\d-[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}",
    ),
    _rule("Dropbox token", "sl.", rf"{_B}sl\.(?:(?:u\.|B)[\w-]{{60,1500}}|[\w=-]{{120,160}})"),
    _rule("Linear key", "lin_", rf"{_B}lin_(?:api|oauth)_[A-Za-z0-9]{{32,70}}"),
    _rule(
        "Notion token",
        "ntn_ secret_",
        rf"{_B}(?:ntn_[A-Za-z0-9]{{40,60}}|secret_[A-Za-z0-9]{{43}}){_E}",
    ),
    _rule("Weights & Biases key", "wandb_v1_", rf"{_B}wandb_v1_\w{{30,120}}"),
    _rule(
        "Tailscale key", "tskey-", rf"{_B}tskey-[a-z]+-[A-Za-z0-9]{{8,20}}-[A-Za-z0-9]{{20,60}}"
    ),
    _rule("1Password token", "ops_ey", rf"{_B}ops_ey[\w-]{{40,4000}}"),
    _rule("age key", "AGE-SECRET-KEY-", rf"{_B}AGE-SECRET-KEY-[A-Z0-9-]{{40,80}}"),
    _rule("Prefect key", "pnu_ pnb_", rf"{_B}pn[ub]_[A-Za-z0-9]{{30,50}}{_E}"),
    _rule(
        "Comet or ClearML pair",
        "-----",
        r"-----(?!BEGIN|END)[A-Z]{3,20}-----(?P<secret>[A-Za-z0-9]{20,80})-----",
    ),
    _rule("Cloudflare origin key", "v1.0-", rf"{_B}v1\.0-[0-9a-f]{{24}}-[0-9a-f]{{146}}"),
    _rule(
        "Artifactory token",
        "AKC cmVmd",
        rf"{_B}(?:AKC[A-Za-z0-9]{{20,200}}|cmVmd[A-Za-z0-9]{{59}}){_E}",
    ),
    _rule("RubyGems token", "rubygems_", rf"{_B}rubygems_[0-9a-f]{{48}}"),
    _rule("Facebook token", "EAA", rf"{_B}EAA[A-Z][A-Za-z0-9]{{80,400}}"),
    _rule(
        "Amazon Bedrock key",
        "ABSK bedrock-api-key-",
        rf"{_B}(?:ABSK[A-Za-z0-9+/=]{{100,300}}|bedrock-api-key-[\w=+/-]{{40,400}})",
    ),
    _rule(
        "AWS signature",
        "X-Amz- x-amz-",
        r"(?:X-Amz|x-amz)-(?i:Signature|Security-Token)=(?P<secret>[\w%+/=-]{20,4000})",
        is_run=False,
    ),
    _rule(
        "Azure signature",
        "sig=",
        r"[?&;]sig=(?P<secret>[A-Za-z0-9%+/=]{30,120})",
        is_run=False,
    ),
    _rule(
        "Azure key",
        "Key= key= KEY=",
        r"(?i:Account|SharedAccess|Access)(?:Key|key|KEY)=(?P<secret>[A-Za-z0-9+/]{20,120}={0,2})",
    ),
    _rule("Azure client secret", "Q~", r"(?<![\w~.-])[\w~.-]{3}\dQ~[\w~.-]{31,34}(?![\w~.-])"),
    # Hosts of models and of data
    _rule("NVIDIA key", "nvapi-", rf"{_B}nvapi-[\w-]{{40,100}}"),
    _rule("Together key", "tgp_v1_", rf"{_B}tgp_v1_[\w-]{{30,100}}"),
    _rule("Fireworks key", "fw_", rf"{_B}fw_(?=[A-Za-z]{{0,30}}\d)[A-Za-z0-9]{{20,40}}{_E}"),
    _rule("Cerebras key", "csk-", rf"{_B}csk-[a-z0-9]{{40,60}}{_E}"),
    _rule("Voyage key", "pa-", rf"{_B}pa-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{{40,60}}(?![\w-])"),
    _rule("Jina key", "jina_", rf"{_B}jina_[A-Za-z0-9_-]{{50,80}}"),
    _rule("Tavily key", "tvly-", rf"{_B}tvly-(?:dev-|prod-)?[A-Za-z0-9-]{{28,60}}"),
    _rule("Firecrawl key", "fc-", rf"{_B}fc-[0-9a-f]{{32}}{_E}"),
    _rule("ElevenLabs key", "sk_", rf"{_B}sk_[0-9a-f]{{48}}{_E}"),
    _rule("RunPod key", "rpa_", rf"{_B}rpa_[A-Z0-9]{{40,60}}{_E}"),
    _rule("Kaggle token", "KGAT_", rf"{_B}KGAT_[0-9a-f]{{32}}{_E}"),
    _rule("Neptune token", "eyJhcGl", rf"{_B}eyJhcGl[A-Za-z0-9+/=_-]{{60,2000}}"),
    _rule("Gemini key", "AQ.", rf"{_B}AQ\.[\w-]{{40,80}}(?![\w-])"),
    _rule("Neon key", "napi_", rf"{_B}napi_[a-z0-9]{{60,70}}{_E}"),
    # Clouds
    _rule("Alibaba key", "LTAI", rf"{_B}LTAI[A-Za-z0-9]{{16,26}}{_E}"),
    _rule("Tencent key", "AKID", rf"{_B}AKID[A-Za-z0-9]{{32}}{_E}"),
    _rule("Baidu key", "bce-v3/", rf"{_B}bce-v3/ALTAK-[A-Za-z0-9]{{16,30}}/[0-9a-f]{{40}}{_E}"),
    _rule(
        "Yandex key",
        "AQVN YCAJ YCMA y0_ t1.",
        rf"{_B}(?:AQVN[\w-]{{35,50}}|YC(?:AJ|MA)[\w-]{{30,60}}|y0_[\w-]{{50,90}}"
        rf"|t1\.[A-Z][\w-]{{30,400}}\.[\w=-]{{30,200}})",
    ),
    _rule("Heroku key", "HRKU-", rf"{_B}HRKU-[\w-]{{30,80}}"),
    _rule("OpenShift token", "sha256~", rf"{_B}sha256~[\w-]{{43}}(?![\w-])"),
    _rule("Dynatrace token", "dt0", rf"{_B}dt0[a-z]\d\d\.[A-Z0-9]{{8,24}}\.[A-Z0-9]{{64}}{_E}"),
    _rule("Render key", "rnd_", rf"{_B}rnd_(?=[A-Za-z]{{0,30}}\d)[A-Za-z0-9]{{28,40}}{_E}"),
    _rule("Netlify token", "nfp_", rf"{_B}nfp_[A-Za-z0-9]{{36,60}}{_E}"),
    _rule(
        "Azure tagged key",
        "JQQJ99 AzFu +ACR ACDb AIoT +AMC +ASt",
        r"(?<![A-Za-z0-9+/])(?=[A-Za-z0-9+/]{40,100}={0,2}(?![A-Za-z0-9+/]))[A-Za-z0-9+/]{30,90}"
        r"(?:JQQJ99|AzFu|\+ACR|ACDb|AIoT|\+AMC|\+ASt)[A-Za-z0-9+/]{6,40}={0,2}",
    ),
    # Code, builds, packages
    _rule(
        "CircleCI token",
        "CCIPAT_ CCIPRJ_",
        rf"{_B}CCIP(?:AT|RJ)_[A-Za-z0-9]{{16,30}}_[0-9a-f]{{40}}{_E}",
    ),
    _rule("Buildkite token", "bkua_", rf"{_B}bkua_[0-9a-f]{{40}}{_E}"),
    _rule("Sonar token", "sqp_ squ_ sqa_", rf"{_B}sq[pua]_[0-9a-f]{{40}}{_E}"),
    _rule("Sourcegraph token", "sgp_", rf"{_B}sgp_(?:[0-9a-f]{{16}}_|local_)?[0-9a-f]{{40}}{_E}"),
    _rule("NuGet key", "oy2", rf"{_B}oy2[a-z0-9]{{43}}{_E}"),
    _rule("Clojars token", "CLOJARS_", rf"{_B}CLOJARS_[0-9a-f]{{60}}{_E}"),
    _rule("crates.io token", "cio", rf"{_B}cio[A-Za-z0-9]{{32}}{_E}"),
    _rule("Scalingo token", "tk-us-", rf"{_B}tk-us-[\w-]{{48}}"),
    _rule("Readme key", "rdme_", rf"{_B}rdme_[a-z0-9]{{70}}{_E}"),
    # Services
    _rule(
        "Brevo key",
        "xkeysib- xsmtpsib-",
        rf"{_B}x(?:key|smtp)sib-[0-9a-f]{{64}}-[A-Za-z0-9]{{16}}{_E}",
    ),
    _rule("Typeform token", "tfp_", rf"{_B}tfp_[\w.=-]{{40,80}}"),
    _rule("Contentful token", "CFPAT-", rf"{_B}CFPAT-[\w-]{{40,60}}"),
    _rule("Razorpay key", "rzp_", rf"{_B}rzp_(?:live|test)_[A-Za-z0-9]{{14,24}}{_E}"),
    _rule("Shippo token", "shippo_", rf"{_B}shippo_(?:live|test)_[0-9a-f]{{40}}{_E}"),
    _rule("EasyPost key", "EZAK EZTK", rf"{_B}EZ[AT]K[A-Za-z0-9]{{54}}{_E}"),
    _rule("Frame.io token", "fio-u-", rf"{_B}fio-u-[\w=-]{{60,70}}"),
    _rule("PostHog key", "phx_", rf"{_B}phx_[A-Za-z0-9]{{40,60}}{_E}"),
    _rule("Honeycomb key", "hcaik_ hcbik_", rf"{_B}hc[ab]ik_[a-z0-9]{{50,70}}{_E}"),
    _rule("Trello token", "ATTA", rf"{_B}ATTA[0-9a-f]{{60,80}}{_E}"),
    _rule(
        "PayPal token",
        "access_token$production$",
        r"access_token\$production\$[a-z0-9]{16}\$[0-9a-f]{32}",
        is_run=False,
    ),
    _rule(
        "LaunchDarkly key",
        "sdk- mob-",
        rf"{_B}(?:sdk|mob)-[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}{_E}",
    ),
    _rule("Flutterwave key", "FLWSECK", rf"{_B}FLWSECK(?:_TEST)?-[A-Za-z0-9]{{12,32}}-X{_E}"),
)
"""Tokens, each with a form of its own, at least twenty characters of it in a row."""

SAID: tuple[Rule, ...] = (
    _rule(
        "authorization header",
        "bearer authorization",
        r"(?i)(?:(?:proxy-)?authorization\\?[\"']?\s{0,4}(?:[:=]|(?<=[\"']),(?=\s{0,4}[bf\[(]?[\"']))"
        r"\s{0,4}[\[(]?[bf]?\\?[\"']?(?:[a-z]{2,12}\s{1,4})?(?![\w.]{1,100}\()(?=[\w.~+/=-]{0,400}\d|[\w.~+/=-]{20})"
        r"|\bbearer\s{1,4})(?P<secret>[\w.~+/=-]{8,4000})",
        is_run=False,
    ),
    _rule(
        "key given to wandb login",
        "login",
        r"(?i)\bwandb(?:\s+login\s+(?:--[\w-]{2,20}\s+){0,3}(?:--key[=\s])?|\.login\([^)\r\n]{0,100}?"
        r"\bkey\s{0,2}=\s{0,2}[\"'])(?P<secret>[^\s\"'$-][^\s\"']{15,200})",
        is_run=False,
    ),
    _rule(
        "key of a Kaggle file",
        "username",
        r"(?i)[\"']username[\"']\s{0,4}:\s{0,4}[\"'][^\"'\r\n]{1,100}[\"'],\s{0,4}"
        r"[\"']key[\"']\s{0,4}:\s{0,4}[\"'](?P<secret>[0-9a-zA-Z_-]{20,200})",
        is_run=False,
    ),
    _rule(
        "key given to a program that configures",
        "configure config",
        r"(?i)\bconfig(?:ure)?\s+set\s+[\w.-]{0,60}(?:secret|token|password|key)[\w.-]{0,20}\s+"
        r"(?P<secret>[^\s\"'$-][^\s\"']{7,400})",
        is_run=False,
    ),
    _rule(
        "password given to docker login",
        "login",
        r"(?i)\bdocker\s+login\b[^|;&\r\n]{0,200}?\s-p[\s=]+(?P<secret>[^\s\"'$]{4,400})",
        is_run=False,
    ),
    _rule(
        "password of a netrc file",
        "login",
        r"(?i)\blogin\s+\S{1,200}\s+password\s+(?P<secret>\S{4,400})",
        is_run=False,
    ),
    _rule(
        "user and password of curl",
        "curl",
        r"(?i)\bcurl\b[^|;&\r\n]{0,400}?\s(?:-\w{0,6}u|--user)[\s=]{0,4}[\"']?[^\s\"':$]{1,200}:"
        r"(?P<secret>[^\s\"'$]{4,400})",
        is_run=False,
    ),
    _rule(
        "signature of an address",
        "signature= policy=",
        r"(?i)[?&;](?:[\w-]{0,20}signature|policy)=(?P<secret>[\w%+/=~.-]{16,4000})",
        is_run=False,
    ),
    _rule(
        "key in an address",
        "?key= &key=",
        r"(?i)[?&]key=(?P<secret>(?=[\w.-]{0,200}\d)(?=[\w.-]{0,200}[A-Za-z])[\w-]{24,200})(?![\w-])",
        is_run=False,
    ),
    _rule(
        "password given by a short option",
        "sshpass htpasswd mysql mariadb redis-cli zip 7z rar smbclient lftp psql mongo ldap "
        "ossutil login",
        r"(?i)(?:\bsshpass\s+-p\s{0,4}|\bhtpasswd\s+-\w{0,4}b\w{0,4}\s+\S{1,200}\s+\S{1,100}\s+|\b(?:mysql(?:dump|admin)?|mariadb)\b[^|;&\r\n]{0,200}?\s-p(?=\S)"
        r"|\bredis-cli\b[^|;&\r\n]{0,200}?\s-a\s+|\b(?:un)?zip\b[^|;&\r\n]{0,200}?\s-P\s{0,4}"
        r"|\b(?:7za?|rar)\b[^|;&\r\n]{0,200}?\s-p(?=\S)"
        r"|\bsmbclient\b[^|;&\r\n]{0,200}?\s-U\s{0,4}[\"']?[^\s%\"']{1,80}%"
        r"|\blftp\b[^|;&\r\n]{0,200}?\s-u\s{0,4}[\"']?[^\s,\"']{1,80},"
        r"|\b(?:psql|mongo(?:sh|dump|restore|export|import)?|az\s+login)\b[^|;&\r\n]{0,200}?\s-[pW]\s+"
        r"|\bldap(?:search|modify|add|passwd|whoami)\b[^|;&\r\n]{0,200}?\s-w\s+"
        r"|\bossutil\b[^|;&\r\n]{0,200}?\s-k\s+)"
        r"[\"']?(?P<secret>[^\s\"'$-][^\s\"']{3,400})",
        is_run=False,
    ),
    _rule(
        "password piped to a program",
        "sudo -stdin",
        r"(?i)\becho\s+(?:-n\s+)?[\"']?(?P<secret>[^\s\"'$|]{4,400})[\"']?\s{0,4}\|\s{0,4}"
        r"(?:sudo\s+-\w{0,4}S|[^|;&\r\n]{0,200}?--(?:password|token)-stdin)",
        is_run=False,
    ),
    _rule(
        "user and password in a call",
        "auth ftp login( set_password(",
        r"(?i)(?:\bauth\s{0,2}=\s{0,2}\(|\bFTP(?:_TLS)?\([\"'][^\"'\r\n]{1,200}[\"'],\s{0,4}|\blogin\("
        r"|\b(?:HTTP)?(?:Basic|Digest)Auth\(|\bset_password\(\s{0,4}[\"'][^\"'\r\n]{1,100}[\"'],)\s{0,4}[\"'][^\"'\r\n]{1,200}[\"'],\s{0,4}"
        r"[\"'](?P<secret>[^\"'\r\n]{4,400})[\"']",
        is_run=False,
    ),
    _rule(
        "literal of a Kubernetes secret",
        "--from-literal string_data stringdata",
        r"(?i)(?:--from-literal[=\s]\s{0,4}[\w.-]{1,100}="
        r"|\bstring_?data\s{0,2}=\s{0,2}\{\s{0,4}[\"'][\w.-]{1,100}[\"']\s{0,4}:\s{0,4})"
        r"[\"']?(?P<secret>[^\s\"'$][^\s\"']{3,4000})",
        is_run=False,
    ),
    _rule(
        "seed of one-time passwords",
        "totp hotp oathtool mfa_ otp_",
        r"(?i)(?:\b[TH]OTP\(\s{0,4}[\"']|\boathtool\b[^|;&\r\n]{0,80}?\s"
        r"|\b\w{0,20}(?:MFA|OTP)_(?:SEED|SECRET|KEY)\s{0,4}[:=]\s{0,4}[\"']?)"
        r"(?P<secret>(?-i:[A-Z2-7]{16,128}))",
        is_run=False,
    ),
    _rule(
        "token given to a program that configures",
        "add-authtoken authtoken",
        r"(?i)\b(?:add-)?authtoken\s+(?P<secret>[\w.-]{20,400})",
        is_run=False,
    ),
    _rule(
        "secret given to a call",
        "jwt. credential( securestring",
        r"(?i)(?:\bjwt\.(?:en|de)code\(\s{0,4}[^,\r\n]{1,100},\s{0,4}|\b\w{0,40}(?:Key|Sas|Token)Credential\("
        r"|\bConvertTo-SecureString\s+(?:-String\s+)?)b?[\"'](?P<secret>[^\"'$\r\n]{4,400})[\"']",
        is_run=False,
    ),
    _rule(
        "password in a statement of SQL",
        "identified password secret",
        r"(?i)(?:(?:\bidentified\s+by|\bpassword|\bsecret)\s{1,4}|\bset\s+password\s+for\s[^=\r\n]{1,200}=\s{0,4})'(?=[^'\r\n]{0,400}[\d!#$%&*@^])"
        r"(?P<secret>[^'\s]{4,400})'",
        is_run=False,
    ),
    _rule(
        "password in a sentence",
        "password passphrase key token",
        r"(?i)\b(?:password|passphrase|(?:api|access|secret|auth)[ _-]?(?:key|token))"
        r"(?:\s+for\s+[\w@.-]{1,60})?"
        r"(?:\s+(?:is|was):?|(?<=\w)\s*:)\s+[\"'`]?(?P<secret>(?=\S{0,200}\d)(?=\S{0,200}[A-Za-z])"
        r"[^\s\"'`<>(){}\[\]$,]{8,200}?)(?=[\"'`.,;)]{0,2}(?:\s|\Z))",
        is_run=False,
    ),
    _rule(
        "password of Redis",
        "requirepass masterauth",
        r"(?i)\b(?:requirepass|masterauth)\s+[\"']?(?P<secret>(?=\S{0,200}\d)[^\s\"']{4,400})",
        is_run=False,
    ),
    _rule(
        "password of a file for PostgreSQL",
        ":5432: :5433: :6432: :*:",
        r"(?:^|(?<=[\s\"']))[+-]?(?:[\w*-]{1,100}(?:\.[\w-]{1,100}){0,8}):(?:5432|5433|6432|\*):"
        r"(?:[A-Za-z*_][\w*.@-]{0,63}:){2}(?P<secret>[^\s\"'$]{4,400})",
        is_run=False,
    ),
    _rule(
        "user and password of a mail server",
        "auth",
        r"\bAUTH (?:PLAIN|LOGIN) (?P<secret>[A-Za-z0-9+/]{12,400}={0,2})(?![A-Za-z0-9+/-])",
        is_run=False,
    ),
    _rule(
        "secret given by its place",
        "alias config sqlplus vastai",
        r"(?i)(?:\bmc\s+(?:alias|config\s+host)\s+(?:set|add)\s+\S{1,60}\s+http\S{1,200}\s+\S{1,200}\s+"
        r"|\bsqlplus\s+(?:-\w+\s+)?[\w$]{1,60}/(?=[^\s@/]{1,100}@)"
        r"|\bvastai\s+set\s+api[_-]?key\s+)[\"']?(?P<secret>[^\s\"'$@/][^\s\"'@/]{3,200})",
        is_run=False,
    ),
    _rule(
        "words that are a key",
        "mnemonic phrase",
        r"(?i)\b(?:mnemonic|(?:seed|recovery)[_ ]phrase)\\?[\"']?\s{0,4}[:=]\s{0,4}\\?[\"']?"
        r"(?P<secret>(?:[a-z]{3,8}[ ,]){11,23}[a-z]{3,8})",
        is_run=False,
    ),
)
"""Secrets that follow certain words, which are the literals, in small letters."""
