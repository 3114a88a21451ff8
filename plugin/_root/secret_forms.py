"""The forms of secrets that are known by how they look.

Their issuers chose a prefix, a length and an alphabet so that a leaked one can be found; the forms
here follow their documentation and GitHub's list of supported secret-scanning patterns.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Rule(NamedTuple):
    """A form of token.

    Attributes:
        name: For people.
        literals: One of them is in every such token.
        pattern: Matches it; the group ``secret`` is what goes, the whole match if there is none.
    """

    name: str
    literals: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


def _rule(name: str, literals: str, pattern: str) -> Rule:
    return Rule(name, tuple(literals.encode().split()), re.compile(pattern.encode()))


# Before a token: not the inside of a word. After it: not more of the same.
_B = r"(?<![A-Za-z0-9_])"
_E = r"(?![A-Za-z0-9_])"

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
        rf"{_B}(?:xox[a-z](?:\.xox[a-z])?|xapp|xwfp)-[A-Za-z0-9-]{{10,300}}",
    ),
    _rule(
        "webhook address",
        "hooks.slack.com/ /api/webhooks/ webhook.office.com/",
        r"(?:hooks\.slack\.com/(?:services|workflows|triggers)/|/api/webhooks/\d{5,25}/"
        r"|webhook\.office\.com/webhookb2/)(?P<secret>[\w/@.+-]{20,400})",
    ),
    _rule(
        "Stripe key",
        "_live_ _test_ whsec_",
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
        rf"{_B}eyJ[\w-]{{6,4000}}\.(?:eyJ)?[\w-]{{4,8000}}\.[\w-]{{0,2000}}(?:\.[\w-]{{10,2000}}){{0,2}}",
    ),
    _rule("npm token", "npm_", rf"{_B}npm_[A-Za-z0-9]{{30,60}}{_E}"),
    _rule("PyPI token", "pypi-", rf"{_B}pypi-[\w-]{{30,400}}"),
    _rule("SendGrid key", "SG.", rf"{_B}SG\.[\w-]{{16,32}}\.[\w-]{{32,64}}"),
    _rule(
        "Mailgun or Mailchimp key",
        "key- -us",
        rf"{_B}(?:key-[0-9a-f]{{32}}|[0-9a-f]{{32}}-us\d{{1,2}}){_E}",
    ),
    _rule("Twilio key", "SK AC", rf"{_B}(?:SK|AC)[0-9a-f]{{32}}{_E}"),
    _rule("Telegram bot token", ":AA", r"(?<!\d)\d{8,11}:AA[\w-]{30,40}"),
    _rule(
        "Discord token",
        ".",
        rf"{_B}[MNO][A-Za-z\d_-]{{23,27}}\.[A-Za-z\d_-]{{6}}\.[A-Za-z\d_-]{{27,38}}(?![\w-])",
    ),
    _rule(
        "Databricks token", "dapi dkea dose", rf"{_B}(?:dapi|dkea|dose)[0-9a-f]{{32}}(?:-\d)?{_E}"
    ),
    _rule("DigitalOcean token", "_v1_", rf"{_B}do[opr]_v1_[0-9a-f]{{60,70}}"),
    _rule(
        "Atlassian token",
        "ATATT3 ATCTT3 ATBB",
        rf"{_B}(?:AT[AC]TT3[\w=-]{{40,400}}|ATBB[A-Za-z0-9]{{24,60}})",
    ),
    _rule("Shopify token", "shp", rf"{_B}shp(?:at|ca|pa|ss)_[0-9a-fA-F]{{32}}{_E}"),
    _rule("Square token", "sq0 EAAA", rf"{_B}(?:sq0[a-z]{{3}}-[\w-]{{20,60}}|EAAA[\w-]{{56,70}})"),
    _rule("Docker token", "dckr_", rf"{_B}dckr_(?:pat|oat)_[\w-]{{20,60}}"),
    _rule("Vault token", "hvs. hvb. hvr.", rf"{_B}hv[sbr]\.[\w-]{{20,300}}"),
    _rule("Terraform token", ".atlasv1.", rf"{_B}[A-Za-z0-9]{{14}}\.atlasv1\.[\w=-]{{40,100}}"),
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
    _rule("Dropbox token", "sl.", rf"{_B}sl\.(?:u\.|B)[\w-]{{60,1500}}"),
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
        rf"{_B}(?:AKC[A-Za-z0-9]{{10,}}|cmVmd[A-Za-z0-9]{{59}}){_E}",
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
        r"(?i:X-Amz-(?:Signature|Security-Token))=(?P<secret>[\w%+/=-]{20,4000})",
    ),
    _rule("Azure signature", "sig=", r"[?&;]sig=(?P<secret>[A-Za-z0-9%+/=]{30,120})"),
    _rule(
        "Azure key",
        "Key= key=",
        r"(?i:AccountKey|SharedAccessKey|AccessKey)=(?P<secret>[A-Za-z0-9+/]{20,120}={0,2})",
    ),
    _rule("Azure client secret", "Q~", r"(?<![\w~.-])[\w~.-]{3}\dQ~[\w~.-]{31,34}(?![\w~.-])"),
    _rule(
        "authorization header",
        "earer EARER uthorization UTHORIZATION",
        r"(?i)(?:(?:proxy-)?authorization\\?[\"']?\s{0,4}[:=]\s{0,4}\\?[\"']?(?:[a-z]{2,12}\s{1,4})?"
        r"|\bbearer\s{1,4})(?P<secret>[\w.~+/=-]{8,4000})",
    ),
)
"""Tokens, each with a form of its own."""
