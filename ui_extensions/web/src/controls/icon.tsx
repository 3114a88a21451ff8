/** Line icons, 16 px, drawn for this project. An icon never stands for a word alone. */

const PATHS = {
  check: "M3 8.5l3.5 3.5L13 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  chevronDown: "M4 6l4 4 4-4",
  chevronRight: "M6 4l4 4-4 4",
  chevronLeft: "M10 4L6 8l4 4",
  chevronUp: "M4 10l4-4 4 4",
  more: "M8 3.5v.01M8 8v.01M8 12.5v.01",
  search: "M7 12A5 5 0 107 2a5 5 0 000 10zM11 11l3.5 3.5",
  copy: "M6 6V2.5h7.5V10H10M2.5 6H10v7.5H2.5z",
  link: "M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 014.5 4.5L11.5 9M9 11.5L7.5 13A3 3 0 013 8.5L4.5 7",
  share: "M8 10V2M5 5l3-3 3 3M5 7.5H3v6h10v-6h-2",
  external: "M9.5 2.5h4v4M13.5 2.5L8 8M12 9.5v4H2.5V4h4",
  download: "M8 2v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11",
  expand: "M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5l-5 5M2.5 13.5l5-5",
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 100-4 2 2 0 000 4z",
  eyeOff: "M2 2l12 12M6.5 3.7A6 6 0 018 3.5C12 3.5 14.5 8 14.5 8a12 12 0 01-2 2.6M9.8 12.3a6 6 0 01-1.8.2C4 12.5 1.5 8 1.5 8a12 12 0 012.6-3.1",
  filter: "M2 3.5h12L9.5 8.5v4l-3 1.5V8.5z",
  sort: "M5 3v10M2.5 10.5L5 13l2.5-2.5M11 13V3M8.5 5.5L11 3l2.5 2.5",
  group: "M2.5 3h11M5 8h8.5M5 13h8.5",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  plus: "M8 3v10M3 8h10",
  pin: "M8 10v4M4.5 10h7L10 6.5V2.5H6v4z",
  star: "M8 2l1.8 3.8 4.2.6-3 3 .7 4.1L8 11.5l-3.7 2 .7-4.1-3-3 4.2-.6z",
  undo: "M6 3L3 6l3 3M3 6h6.5a3.5 3.5 0 010 7H6",
  redo: "M10 3l3 3-3 3M13 6H6.5a3.5 3.5 0 000 7H10",
  edit: "M11 2.5L13.5 5 5.5 13H3v-2.5z",
  trash: "M3 4.5h10M6.5 4.5V2.5h3v2M4.5 4.5l.5 9h6l.5-9",
  warning: "M8 2.5l6.5 11h-13zM8 7v3M8 11.8v.01",
  error: "M8 14A6 6 0 108 2a6 6 0 000 12zM8 5v3.5M8 11v.01",
  info: "M8 14A6 6 0 108 2a6 6 0 000 12zM8 7.5V11M8 5v.01",
  sun: "M8 11a3 3 0 100-6 3 3 0 000 6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.5 9.5A6 6 0 016.5 2.5 6 6 0 1013.5 9.5z",
  play: "M5 3l8 5-8 5z",
  pause: "M5.5 3v10M10.5 3v10",
  stop: "M4 4h8v8H4z",
  chart: "M2.5 2.5v11h11M4.5 10.5l3-4 2.5 2 3.5-5",
  scatter: "M2.5 2.5v11h11M6 10v.01M8 6v.01M11 9v.01M12 4.5v.01M5.5 5.5v.01",
  bars: "M2.5 2.5v11h11M5.5 11V8M8.5 11V4.5M11.5 11V6.5",
  parallel: "M3 2.5v11M8 2.5v11M13 2.5v11M3 5l5 6 5-5M3 10l5-4 5 6",
  folder: "M2 4h4.5L8 5.5h6V13H2z",
  file: "M4 2h5l3 3v9H4zM9 2v3h3",
  settings: "M2.5 4.5h6M11.5 4.5h2M10 6V3M2.5 11.5h2M7.5 11.5h6M6 13v-3",
  refresh: "M13.5 3v3.5H10M13 6.5A5.5 5.5 0 103 10",
  drop: "M8 2c2.5 3 4 5 4 7a4 4 0 01-8 0c0-2 1.5-4 4-7z",
  lock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 015 0v2.5",
  people: "M6 8a2.5 2.5 0 100-5 2.5 2.5 0 000 5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 3.2a2.5 2.5 0 010 4.6M12 9.8c1.5.5 2.5 1.8 2.5 3.7",
  globe: "M8 14A6 6 0 108 2a6 6 0 000 12zM2 8h12M8 2c2 2 2.5 4 2.5 6S10 12 8 14C6 12 5.5 10 5.5 8S6 4 8 2z",
  grip: "M6 3.5v.01M6 8v.01M6 12.5v.01M10 3.5v.01M10 8v.01M10 12.5v.01",
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="w-icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}
