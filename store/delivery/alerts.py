"""Alerts that a training raised, as records bring them."""

from __future__ import annotations

import re

from mlflow_weir.store.alerts import alerts
from mlflow_weir.store.delivery.delivery import Delivery
from mlflow_weir.store.delivery.fields import Fields, Refused

_ID = re.compile(r"[0-9a-f]{32}\Z")
_MAX_MS = 1 << 45


def add_alert(delivery: Delivery, fields: Fields) -> None:
    """Keep an alert of a run; one that is there already stays as it is."""
    alert_id, level, at_ms = fields.text("alert_id"), fields.text("level"), fields.whole("at_ms")
    title, text = fields.text("title"), fields.text("text")
    if not _ID.match(alert_id):
        raise Refused(f"alert id {alert_id!r:.100} is not 32 hexadecimal digits")
    if level not in alerts.LEVELS:
        raise Refused(f"{level!r:.100} is not a level of an alert")
    if not 0 <= at_ms < _MAX_MS:
        raise Refused(f"{at_ms} ms is no time")
    run, connection = delivery.active_run(fields.text("run_id")), delivery.connection
    owner = alerts.owner_of(connection, alert_id)
    if owner is not None:
        if owner != run.run_id:
            raise Refused(f"alert {alert_id} is there, of another run")
        return
    if alerts.count_raised(connection, run.run_id) >= alerts.MAX_OF_A_RUN:
        raise Refused(f"the run has raised {alerts.MAX_OF_A_RUN:,} alerts already")
    alert = alerts.Alert(alert_id, run.run_id, level, title, text, at_ms)
    alerts.add(connection, alert, delivery.now_ms, is_routed=False)
