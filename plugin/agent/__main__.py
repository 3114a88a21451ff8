"""``python -m mlflow_weir.plugin.agent --spool DIR``: leave the caller, then serve the spool.

Started by ``client.ensure_agent``. It ends at once where another agent holds the lease.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlflow_weir.plugin.agent import process


def main(arguments: list[str]) -> None:
    """Become an agent; returns in the process that is left behind for good."""
    if len(arguments) != 2 or arguments[0] != "--spool":
        sys.exit("usage: python -m mlflow_weir.plugin.agent --spool DIR")
    root = Path(os.path.abspath(arguments[1]))
    process.detach()
    # After the forks: the caller is not kept waiting for these.
    from mlflow_weir.plugin.agent import lease
    from mlflow_weir.plugin.agent.files import AgentFiles
    from mlflow_weir.plugin.journal.spool import Spool

    spool = Spool.open(root)
    files = AgentFiles(spool.root)
    held = lease.try_take(files)
    if held is None:
        return
    log = process.open_log(files.log)
    log.info("agent started: %s, lease %d", spool.root, held.fencing)
    try:
        from mlflow_weir.plugin.agent.loop import Agent

        Agent(spool, held).run()
    except BaseException:
        log.exception("agent failed")
        raise
    finally:
        held.release()
    log.info("agent ended")


if __name__ == "__main__":
    main(sys.argv[1:])
