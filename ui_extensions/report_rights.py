"""Who may do what with a report: it follows from what they may do with its experiments.

Who may read them all reads it, once it was published; who may edit them all writes it; whoever
began it and may still edit it, or may delete its experiments, deletes it.
"""

from __future__ import annotations

import flask

from mlflow_weir.store.sharing import reports
from mlflow_weir.store.sharing.reports import Report
from mlflow_weir.ui_extensions import access, deliveries, mlflow_private
from mlflow_weir.ui_extensions.ids import is_id


def require_report(report_id: str, caller: access.Access) -> Report:
    """Return a report that the caller may read; end the request where there is none."""
    report = None
    if is_id(report_id):
        report = reports.read(deliveries.require_store().engine, report_id)
    workspace = mlflow_private.request_workspace()
    if report is None or report.workspace != workspace or not may_read(report, caller):
        flask.abort(access.refusal(404, "there is no such report"))
    return report


def may_read(report: Report, caller: access.Access) -> bool:
    """Say whether the caller may read a report; drafts alone are for editors."""
    if not all(map(caller.may_read_experiment, report.experiment_ids)):
        return False
    return report.revision > 0 or may_edit(report, caller)


def may_edit(report: Report, caller: access.Access) -> bool:
    """Say whether the caller may write a report."""
    return all(map(caller.may_edit_experiment, report.experiment_ids))


def may_delete(report: Report, caller: access.Access) -> bool:
    """Say whether the caller may delete a report."""
    if is_caller(report.created_by) and may_edit(report, caller):
        return True
    return all(map(caller.may_delete_experiment, report.experiment_ids))


def is_caller(author: str) -> bool:
    """Say whether the caller is somebody; everybody is, where the server asks nobody."""
    named = access.principal()
    if named:
        return author == named
    return not mlflow_private.is_auth_on() and access.can_ask_of_others()
