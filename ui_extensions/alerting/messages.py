"""An alert in the words of each kind of target.

Titles, texts and names come from trainings: they are data in JSON, plain text in an e-mail, and in
chat neither a link, nor markup, nor a call to everybody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

from mlflow_weir.store.alerts.queue import Claimed

_SLACK_TEXT = 3_000
_MARKS = {"info": ":information_source:", "warning": ":warning:", "error": ":rotating_light:"}
_CALL = re.compile(r"@(?=channel|here|all|everyone)", re.IGNORECASE)
_MARKUP = re.compile(r"([*_~`])")
_KEY_MARK = "whsec_"
_APART = "\N{ZERO WIDTH SPACE}"


def run_url(claimed: Claimed) -> str | None:
    """Return the address of the run's page; None where the server's is not known."""
    target = claimed.target
    if not target.base:
        return None
    query = f"?{urlencode({'workspace': target.workspace})}" if target.workspace else ""
    return f"{target.base}/weir/r/{claimed.alert.run_id}{query}"


def as_json(claimed: Claimed) -> bytes:
    """Return the body for a webhook."""
    alert = claimed.alert
    body: dict[str, Any] = {
        "id": claimed.delivery_id,
        "alert": {
            "id": alert.alert_id,
            "level": alert.level,
            "title": alert.title,
            "text": alert.text,
            "at_ms": alert.at_ms,
            "rule_id": alert.rule_id,
        },
        "run": {
            "id": alert.run_id,
            "name": claimed.run_name,
            "status": claimed.run_status,
            "url": run_url(claimed),
        },
        "experiment": {"id": str(claimed.experiment_id), "name": claimed.experiment_name},
    }
    return json.dumps(body).encode()


def new_key() -> str:
    """Return a key to sign with, as Standard Webhooks writes it."""
    return _KEY_MARK + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(key: str, delivery_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers by which a webhook's receiver knows that a delivery is the server's own.

    They are those of Standard Webhooks (https://www.standardwebhooks.com), for which there are
    libraries to check them.
    """
    signed = f"{delivery_id}.{at_s}.".encode() + body
    secret = base64.b64decode(key.removeprefix(_KEY_MARK))
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def as_slack(claimed: Claimed) -> bytes:
    """Return the body for Slack, and for what takes the same."""
    alert, url = claimed.alert, run_url(claimed)
    lines = [f"{_MARKS[alert.level]} *{_in_chat(alert.title)}*"]
    if alert.text:
        lines.append(_in_chat(alert.text))
    name = _in_chat(claimed.run_name).replace("|", "/")
    lines.append(
        f"Run {f'<{url}|{name}>' if url else name} of {_in_chat(claimed.experiment_name)}"
    )
    return json.dumps({"text": "\n".join(lines)}).encode()


def as_mail(claimed: Claimed, sender: str) -> EmailMessage:
    """Return the message for e-mail; its Message-ID is the delivery's."""
    alert = claimed.alert
    message = EmailMessage()
    domain = sender.rpartition("@")[2].rstrip(">").strip() or "weir"
    message["Subject"] = " ".join(f"[{alert.level}] {alert.title}".split())
    message["From"] = sender
    message["To"] = ", ".join(claimed.target.recipients)
    message["Date"] = formatdate(alert.at_ms / 1000)
    message["Message-ID"] = f"<{claimed.delivery_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    at = datetime.fromtimestamp(alert.at_ms / 1000, timezone.utc)
    lines = [
        *([alert.text, ""] if alert.text else []),
        f"Run: {claimed.run_name} ({claimed.run_status})",
        f"Experiment: {claimed.experiment_name}",
        f"Time: {at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    if url := run_url(claimed):
        lines.append(url)
    message.set_content("\n".join(lines) + "\n")
    return message


def _in_chat(text: str) -> str:
    text = text[:_SLACK_TEXT].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _CALL.sub(f"@{_APART}", _MARKUP.sub(rf"{_APART}\1", text))
