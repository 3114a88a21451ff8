"""Reports written from Python, for a tracking server that runs Weir.

    from mlflow_weir import reports

    report = reports.Report("LR sweep, week 12", experiments=["resnet-sweep"])
    report.heading("Results").text("Adam is ", reports.bold("best"), " by far.")
    report.charts("val/loss", "train/loss", filter="params.optimizer = 'adam'")
    report.table([["rate", "loss"], ["3e-3", "0.31"]])
    print(report.publish())

Nothing is sent before ``save`` or ``publish``. What a report may hold is checked by the server;
its refusal names the place.
"""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Inline = str | Mapping[str, Any]
"""Text, or what ``bold``, ``italic``, ``code``, ``link`` and ``math`` return."""


def _marked(text: Inline, mark: str, **attributes: Any) -> dict[str, Any]:
    node = _inline(text)
    made = {"type": mark, **({"attrs": attributes} if attributes else {})}
    return {**node, "marks": [*node.get("marks", ()), made]}


def _inline(part: Inline) -> dict[str, Any]:
    return {"type": "text", "text": part} if isinstance(part, str) else dict(part)


def bold(text: Inline) -> dict[str, Any]:
    """Return text in bold."""
    return _marked(text, "bold")


def italic(text: Inline) -> dict[str, Any]:
    """Return text in italics."""
    return _marked(text, "italic")


def code(text: Inline) -> dict[str, Any]:
    """Return text as code."""
    return _marked(text, "code")


def link(text: Inline, address: str) -> dict[str, Any]:
    """Return text that leads to an address: http, https or mailto."""
    return _marked(text, "link", href=address)


def math(tex: str) -> dict[str, Any]:
    """Return a formula within a line."""
    return {"type": "math", "attrs": {"tex": tex}}


def _paragraph(*parts: Inline) -> dict[str, Any]:
    content = [_inline(part) for part in parts if part != ""]
    return {"type": "paragraph", **({"content": content} if content else {})}


class Report:
    """A report that is being written; every method that adds something returns the report.

    Attributes:
        report_id: "" before the first ``save``.
    """

    def __init__(
        self, title: str, experiments: Sequence[str | int], *, uri: str | None = None
    ) -> None:
        """Begin a report.

        Args:
            title: What readers see first.
            experiments: That it is about, by name or id; the first one's runs fill its panels.
            uri: Of a tracking server that runs Weir; MLflow's present one when left out.
        """
        self.report_id = ""
        self._title = title
        self._experiments = [str(one) for one in experiments]
        self._uri = uri
        self._ids: list[str] = []
        self._draft = 0
        self._blocks: list[dict[str, Any]] = []

    def heading(self, text: str, level: Literal[1, 2, 3] = 1) -> Report:
        """Add a heading; it is listed in the contents."""
        return self._add("heading", [_inline(text)], level=level)

    def text(self, *parts: Inline) -> Report:
        """Add a paragraph."""
        return self._put(_paragraph(*parts))

    def bullets(self, *items: Inline) -> Report:
        """Add a bulleted list."""
        return self._add("bulletList", [_item("listItem", item) for item in items])

    def numbers(self, *items: Inline, start: int = 1) -> Report:
        """Add a numbered list."""
        return self._add("orderedList", [_item("listItem", item) for item in items], start=start)

    def todo(self, *items: tuple[Inline, bool]) -> Report:
        """Add a list of things to do, each with whether it is done."""
        made = [{**_item("taskItem", text), "attrs": {"checked": done}} for text, done in items]
        return self._add("taskList", made)

    def quote(self, *parts: Inline) -> Report:
        """Add what somebody said."""
        return self._add("blockquote", [_paragraph(*parts)])

    def callout(
        self, *parts: Inline, kind: Literal["note", "tip", "warning", "danger"] = "note"
    ) -> Report:
        """Add something that is not to be overlooked."""
        return self._add("callout", [_paragraph(*parts)], kind=kind)

    def code(self, text: str, language: str | None = None) -> Report:
        """Add lines of code."""
        return self._add("codeBlock", [_inline(text)] if text else [], language=language)

    def math(self, tex: str) -> Report:
        """Add a formula on a line of its own."""
        return self._add("mathBlock", [], tex=tex)

    def table(self, rows: Iterable[Iterable[Any]], *, has_header: bool = True) -> Report:
        """Add a table of texts; a header is its first row."""
        made = []
        for at, row in enumerate(rows):
            kind = "tableHeader" if has_header and at == 0 else "tableCell"
            cells = [{"type": kind, "content": [_paragraph(str(cell))]} for cell in row]
            made.append({"type": "tableRow", "content": cells})
        return self._add("table", made)

    def image(self, source: str | Path | bytes, *, alt: str = "", caption: str = "") -> Report:
        """Add a picture, a file or its content: PNG, JPEG, GIF or WebP of at most 4 MiB."""
        body = source if isinstance(source, bytes) else Path(source).read_bytes()
        # Sent with the report, which has to be there for it.
        return self._add("image", [], image=body, alt=alt, caption=caption)

    def contents(self) -> Report:
        """Add the list of the headings."""
        return self._add("contents", [])

    def line(self) -> Report:
        """Add a line across."""
        return self._add("horizontalRule", [])

    def charts(
        self,
        *metrics: str,
        together: bool = False,
        x: str = "step",
        log_y: bool = False,
        smoothing: float = 0.0,
        title: str = "",
        **runs: Any,
    ) -> Report:
        """Add charts of metrics.

        Args:
            metrics: One chart each.
            together: All on one chart.
            x: ``step``, ``wall``, ``rel``, or ``m:`` and a metric.
            log_y: Logarithmic y axes.
            smoothing: From 0 to 1, as in the workspace (TWEMA).
            title: Above the charts.
            runs: Which ones: ``filter``, ``run_ids``, ``order`` (such as ``-metrics.acc:max``),
                ``most`` (at most so many, 100), ``group_by``, ``frozen`` (as they are now),
                ``experiments`` (by name or id, instead of the report's).
        """
        groups = [list(metrics)] if together else [[one] for one in metrics]
        cards = [
            {"id": " ".join(keys)[:600], "kind": "line", "keys": keys, "w": 4 if together else 1}
            for keys in groups
        ]
        settings: dict[str, Any] = {"x": x, "yScale": "log" if log_y else "linear"}
        if smoothing:
            settings["smoothing"] = {"kind": "twema", "amount": smoothing, "original": True}
        return self._panel("charts", title, runs, cards=cards, settings=settings)

    def runs(self, *columns: str, title: str = "", **runs: Any) -> Report:
        """Add a table of runs with columns such as ``params.lr`` and ``metrics.loss:min``."""
        return self._panel("runs", title, runs, columns=list(columns))

    def compare(
        self,
        *parts: Literal["run", "params", "metrics", "code", "environment", "tags"],
        differences: bool = True,
        title: str = "",
        **runs: Any,
    ) -> Report:
        """Add runs side by side: params and metrics when no parts are named."""
        more = {"parts": list(parts) or ["params", "metrics"], "differences": differences}
        return self._panel("compare", title, runs, **more)

    def media(self, *keys: str, title: str = "", **runs: Any) -> Report:
        """Add the pictures that runs logged: of these keys, or of all."""
        return self._panel("media", title, runs, keys=list(keys))

    def code_of(self, *run_ids: str, title: str = "") -> Report:
        """Add the code of a run, or what differs between that of two."""
        return self._panel("code", title, {"run_ids": list(run_ids)})

    def save(self) -> str:
        """Save it as the draft, and return its address.

        Raises:
            WeirError: The server refuses it, or somebody has changed the draft since.
        """
        server = self._server()
        self._ids = self._ids or server.experiment_ids(self._experiments)
        if not self.report_id:
            begun = {"experiment_ids": self._ids, "title": self._title}
            report = server.ask("create", begun)["report"]
            self.report_id, self._draft = str(report["id"]), int(report["draft"])
        content = [self._sent(block, server) for block in self._blocks]
        document = {"type": "doc", "content": content or [{"type": "paragraph"}]}
        self._change(server, "save", draft=self._draft, title=self._title, document=document)
        return str(server.address(f"/reports/{self.report_id}/edit"))

    def publish(self) -> str:
        """Save it, publish that, and return the address for readers.

        Raises:
            WeirError: As ``save``.
        """
        self.save()
        server = self._server()
        self._change(server, "publish", draft=self._draft)
        return str(server.address(f"/reports/{self.report_id}"))

    def _server(self) -> Any:
        # The layers below know nothing of this one's callers, and MLflow takes a second to import.
        return importlib.import_module("mlflow_weir.plugin.report_server").ReportServer(self._uri)

    def _change(self, server: Any, action: str, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = server.ask(
            "change", {"id": self.report_id, "action": action, **more}
        )
        if action != "picture":
            # What somebody has saved since is not what this was begun from.
            self._draft = int(answer["report"]["draft"])
        return answer

    def _sent(self, block: dict[str, Any], server: Any) -> dict[str, Any]:
        """Return a block as the server takes it: pictures are sent, experiments have ids."""
        attributes = dict(block.get("attrs", {}))
        if block["type"] == "image":
            body = base64.b64encode(attributes["image"]).decode("ascii")
            attributes["image"] = self._change(server, "picture", body=body)["image"]
        elif block["type"] == "panel":
            panel = attributes["panel"]
            runs = dict(panel["runs"])
            named = runs.pop("experiments")
            runs["experiments"] = self._ids if named is None else server.experiment_ids(named)
            if runs.pop("frozen"):
                runs["at"] = server.now_ms(runs["experiments"])
            attributes = {"panel": {**panel, "runs": runs}}
        else:
            return block
        return {**block, "attrs": attributes}

    def _panel(self, kind: str, title: str, runs: Mapping[str, Any], **more: Any) -> Report:
        known = {"filter", "run_ids", "order", "most", "group_by", "frozen", "experiments"}
        unknown = runs.keys() - known
        if unknown:
            raise TypeError(f"unexpected {min(unknown)!r}; which runs is said by {sorted(known)}")
        order, groups = runs.get("order") or [], runs.get("group_by") or []
        experiments = runs.get("experiments")
        meant = {
            "experiments": None if experiments is None else [str(one) for one in experiments],
            "ids": runs.get("run_ids"),
            "filter": runs.get("filter") or "",
            "order": [order] if isinstance(order, str) else list(order),
            "groupBy": [groups] if isinstance(groups, str) else list(groups),
            "most": runs.get("most") or 100,
            "frozen": bool(runs.get("frozen")),
        }
        panel = {"kind": kind, "title": title, "runs": meant, **more}
        return self._put({"type": "panel", "attrs": {"panel": panel}})

    def _add(self, kind: str, content: list[dict[str, Any]], /, **attributes: Any) -> Report:
        made: dict[str, Any] = {"type": kind}
        given = {name: value for name, value in attributes.items() if value is not None}
        if given:
            made["attrs"] = given
        if content:
            made["content"] = content
        return self._put(made)

    def _put(self, block: dict[str, Any]) -> Report:
        self._blocks.append(block)
        return self


def _item(kind: str, text: Inline) -> dict[str, Any]:
    return {"type": kind, "content": [_paragraph(text)]}
