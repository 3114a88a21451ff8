import { dateTime } from "../text/format"
import { visible } from "../text/visible"
import type { RunAlert, RunFacts } from "./facts"

const SHOWN = 3
const BADGES = { info: "", warning: " w-badge-warn", error: " w-badge-bad" }

/** What its training, or a rule, had to say of it: the newest first, most of them folded. */
export function Alerts({ run }: { run: RunFacts }) {
  const alerts = run.alerts ?? []
  if (alerts.length === 0) return null
  const more = alerts.slice(SHOWN)
  return (
    <section aria-labelledby="w-alerts">
      <div className="w-section-head">
        <h2 id="w-alerts" className="w-section-title">
          Alerts
        </h2>
      </div>
      <ul className="w-alerts">
        {alerts.slice(0, SHOWN).map((alert) => (
          <Alert key={alert.id} alert={alert} />
        ))}
      </ul>
      {more.length > 0 && (
        <details>
          <summary>{more.length} more</summary>
          <ul className="w-alerts">
            {more.map((alert) => (
              <Alert key={alert.id} alert={alert} />
            ))}
          </ul>
        </details>
      )}
    </section>
  )
}

function Alert({ alert }: { alert: RunAlert }) {
  return (
    <li className="w-alert">
      <span className={`w-badge${BADGES[alert.level]}`}>{alert.level}</span>
      <div>
        <strong>{visible(alert.title, 250)}</strong>
        <span className="w-secondary"> {dateTime(alert.at_ms)}</span>
        {alert.text && <p className="w-alert-text">{visible(alert.text, 8_000)}</p>}
      </div>
    </li>
  )
}
