/** Numbers, times and sizes as people read them. */

// MLflow's SQL store keeps infinities as the largest double.
const LARGEST = 1.7976931348623157e308
// `toLocaleString` finds its rules anew each time.
const COUNTS = new Intl.NumberFormat("en-US")
const FRACTIONS = new Intl.NumberFormat("en-US", { maximumFractionDigits: 20 })

/** A metric's value: at most `digits` significant ones, never rounded into another magnitude. */
export function number(value: number | null | undefined, digits = 6): string {
  if (value === null || value === undefined) return "–"
  if (Number.isNaN(value)) return "NaN"
  if (value >= LARGEST) return "∞"
  if (value <= -LARGEST) return "−∞"
  const size = Math.abs(value)
  if (Number.isInteger(value) && size < 1e15) return count(value)
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) {
    return value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e")
  }
  const rounded = Number(value.toPrecision(digits))
  return Math.abs(rounded) < 1_000 ? String(rounded) : FRACTIONS.format(rounded)
}

/** A count: 1,234. */
export function count(value: number): string {
  return COUNTS.format(value)
}

/** Bytes, in powers of 1,024. */
export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–"
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
  let size = Math.abs(value)
  let unit = 0
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit += 1
  }
  const digits = unit === 0 || size >= 100 ? 0 : 1
  return `${value < 0 ? "−" : ""}${size.toFixed(digits)} ${units[unit]}`
}

/** A duration: `1.2 s`, `3 m 05 s`, `2 h 10 m`, `3 d 4 h`. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms) || ms < 0) return "–"
  if (ms < 1_000) return `${Math.round(ms)} ms`
  const s = ms / 1_000
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`
  const whole = Math.round(s)
  if (whole < 3_600 && whole % 60 === 0) return `${whole / 60} m`
  if (whole < 3_600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, "0")} s`
  if (whole < 86_400 && whole % 3_600 === 0) return `${whole / 3_600} h`
  if (whole < 86_400) {
    return `${Math.floor(whole / 3_600)} h ${String(Math.floor((whole % 3_600) / 60)).padStart(2, "0")} m`
  }
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3_600)} h`
}

/** A time of day with its date, in the reader's zone; `–` for what no calendar has. */
export function dateTime(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–"
  const date = new Date(ms)
  if (Number.isNaN(date.getTime())) return "–"
  const two = (n: number): string => String(n).padStart(2, "0")
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/** How long ago, roughly: `now`, `12 s ago`, `3 h ago`, `5 d ago`. */
export function ago(ms: number | null | undefined, nowMs = Date.now()): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–"
  const s = (nowMs - ms) / 1_000
  if (s < 5) return "now"
  if (s < 60) return `${Math.floor(s)} s ago`
  if (s < 3_600) return `${Math.floor(s / 60)} m ago`
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ago`
  return `${Math.floor(s / 86_400)} d ago`
}
