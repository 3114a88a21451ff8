import type { InputHTMLAttributes, ReactNode } from "react"

import { IconButton } from "./button"
import { Icon } from "./icon"

/** A search box with a way to clear it. `after` goes into its right end, such as a switch. */
export function SearchBox({
  label,
  value,
  onChange,
  after,
  className = "",
  ...rest
}: Omit<InputHTMLAttributes<HTMLInputElement>, "onChange" | "value"> & {
  label: string
  value: string
  onChange: (value: string) => void
  after?: ReactNode
}) {
  return (
    <span className={`w-search ${className}`} role="search" aria-label={label}>
      <Icon name="search" />
      <input
        type="text"
        inputMode="search"
        className="w-input"
        aria-label={label}
        placeholder={label}
        autoComplete="off"
        spellCheck={false}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape" || !value) return
          event.stopPropagation()
          onChange("")
        }}
        {...rest}
      />
      <span className="w-search-more">
        {value && (
          <IconButton icon="close" label={`Clear: ${label}`} isSmall onClick={() => onChange("")} />
        )}
        {after}
      </span>
    </span>
  )
}

export function Checkbox({
  label,
  isChecked,
  onChange,
  isDisabled = false,
}: {
  label: ReactNode
  isChecked: boolean
  onChange: (isChecked: boolean) => void
  isDisabled?: boolean
}) {
  return (
    <label className="w-check">
      <input
        type="checkbox"
        checked={isChecked}
        disabled={isDisabled}
        onChange={(event) => onChange(event.target.checked)}
      />
      {label}
    </label>
  )
}
