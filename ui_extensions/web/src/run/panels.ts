/** Which of a run's hardware metrics are drawn together, and by device. */

export interface PanelLine {
  key: string
  label: string
  /** A limit or total, drawn thin and dashed. */
  isLimit?: boolean
}

export interface Panel {
  id: string
  title: string
  unit: string
  lines: PanelLine[]
  /** Ends of the value axis that are always shown. */
  range?: [number, number]
}

export interface Section {
  title: string
  panels: Panel[]
  /** What is looked at now and then. */
  isClosed?: boolean
  /** Metrics that are not 0 while the device was slowed down. */
  throttleKeys?: string[]
}

const GPU = /^gpu_(\d+)(_mig_\d+)?_(.+)$/

const GPU_PANELS: [string, string, [string, string, boolean?][], [number, number]?][] = [
  ["Utilisation", "%", [["utilization_percentage", "computing"], ["process_utilization_percentage", "this run"], ["memory_busy_percentage", "memory busy"]], [0, 100]],
  [
    "Memory",
    "MB",
    [
      ["memory_usage_megabytes", "all processes"],
      ["process_memory_megabytes", "this run"],
      ["memory_total_megabytes", "there is", true],
    ],
  ],
  ["Power", "W", [["power_usage_watts", "draws"], ["power_limit_watts", "limit", true]]],
  ["Temperature", "°C", [["temperature_celsius", "chip"], ["memory_temperature_celsius", "memory"]]],
  [
    "Throttled",
    "0 or 1",
    [
      ["throttled_by_power", "by power"],
      ["throttled_by_heat", "by heat"],
      ["throttled_by_hardware", "by hardware"],
    ],
    [0, 1],
  ],
  ["Clocks", "MHz", [["sm_clock_mhz", "SM"], ["memory_clock_mhz", "memory"], ["graphics_clock_mhz", "graphics"]]],
]

const HOST_PANELS: [string, string, [string, string, boolean?][], [number, number]?][] = [
  [
    "Memory of this run",
    "MB",
    [
      ["process_memory_megabytes", "its processes"],
      ["cgroup_memory_usage_megabytes", "container"],
      ["cgroup_memory_limit_megabytes", "limit", true],
    ],
  ],
  ["Processor of this run", "%", [["process_cpu_utilization_percentage", "its processes"]], [0, 100]],
  ["Processor of the machine", "%", [["cpu_utilization_percentage", "busy"]], [0, 100]],
  ["Memory of the machine", "MB", [["system_memory_usage_megabytes", "used"], ["swap_usage_megabytes", "swap"]]],
  ["Network", "MB", [["network_receive_megabytes", "received"], ["network_transmit_megabytes", "sent"]]],
  ["Disk traffic", "MB", [["disk_read_megabytes", "read"], ["disk_write_megabytes", "written"]]],
  ["Disk", "%", [["disk_usage_percentage", "full"]], [0, 100]],
  ["Throttled by the container", "%", [["cgroup_cpu_throttled_percentage", "of the time"]], [0, 100]],
]

function panelsOf(
  prefix: string,
  there: ReadonlySet<string>,
  wanted: typeof HOST_PANELS,
  taken: Set<string>,
): Panel[] {
  const panels: Panel[] = []
  for (const [title, unit, names, range] of wanted) {
    const lines = names
      .filter(([name]) => there.has(prefix + name))
      .map(([name, label, isLimit]) => ({ key: prefix + name, label, ...(isLimit && { isLimit }) }))
    for (const line of lines) taken.add(line.key)
    if (lines.some((line) => !line.isLimit)) {
      panels.push({ id: prefix + title, title, unit, lines, ...(range && { range }) })
    }
  }
  return panels
}

/** The nodes that sent hardware metrics: `""` for the only one. */
export function nodesOf(keys: readonly string[]): string[] {
  const found = new Set<string>()
  for (const key of keys) {
    if (!key.startsWith("system/")) continue
    const rest = key.slice("system/".length)
    const cut = rest.indexOf("/")
    found.add(cut < 0 ? "" : rest.slice(0, cut))
  }
  return [...found].sort()
}

/** Hardware of one node: each GPU, then the machine; what has no place of its own comes last. */
export function hardwareSections(keys: readonly string[], node: string): Section[] {
  const root = node ? `system/${node}/` : "system/"
  const own = keys.filter(
    (key) => key.startsWith(root) && !key.slice(root.length).includes("/"),
  )
  const there = new Set(own)
  const taken = new Set<string>()
  const gpus = new Set<string>()
  for (const key of own) {
    const found = GPU.exec(key.slice(root.length))
    if (found) gpus.add(`${found[1]}${found[2] ?? ""}`)
  }
  const sections: Section[] = []
  for (const gpu of [...gpus].sort((a, b) => a.localeCompare(b, "en", { numeric: true }))) {
    const panels = panelsOf(`${root}gpu_${gpu}_`, there, GPU_PANELS, taken)
    if (panels.length > 0) {
      const signals = `${root}gpu_${gpu}_throttled_by_`
      const throttleKeys = own.filter((key) => key.startsWith(signals))
      sections.push({
        title: `GPU ${gpu.replace("_mig_", ", slice ")}`,
        panels,
        ...(throttleKeys.length > 0 && { throttleKeys }),
      })
    }
  }
  const host = panelsOf(root, there, HOST_PANELS, taken)
  if (host.length > 0) {
    // A container that is stopped for having used its share is slowed down too.
    const throttleKeys = own.filter((key) => key === `${root}cgroup_cpu_throttled_percentage`)
    sections.push({
      title: "Machine and processes",
      panels: host,
      ...(throttleKeys.length > 0 && { throttleKeys }),
    })
  }
  const rest = new Map<string, Panel[]>()
  for (const key of own) {
    if (taken.has(key)) continue
    const name = key.slice(root.length)
    const gpu = GPU.exec(name)
    const title = gpu ? `GPU ${gpu[1]}${gpu[2] ? `, slice ${gpu[2].slice(5)}` : ""}, all else` : "More"
    const panel = {
      id: key,
      title: (gpu?.[3] ?? name).replaceAll("_", " "),
      unit: "",
      lines: [{ key, label: gpu?.[3] ?? name }],
    }
    rest.set(title, [...(rest.get(title) ?? []), panel])
  }
  for (const [title, panels] of rest) sections.push({ title, panels, isClosed: true })
  return sections
}

const MARKED_POINTS = 60

/** Say whether each point is marked: where few are in view, or a lone one would be no line at all. */
export function hasMarkers(
  values: ArrayLike<number | null | undefined>,
  from: number,
  to: number,
  isLimit: boolean,
): boolean {
  const most = isLimit ? 1 : MARKED_POINTS
  let n = 0
  for (let at = from; at <= to && n <= most; at += 1) {
    if (values[at] !== null && values[at] !== undefined) n += 1
  }
  return n > 0 && n <= most
}
