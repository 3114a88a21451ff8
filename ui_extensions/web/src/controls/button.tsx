import type { ButtonHTMLAttributes, Ref } from "react"

import type { IconName } from "./icon"
import { Icon } from "./icon"
import { Tooltip } from "./tooltip"

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "plain" | "primary" | "danger" | "quiet"
  icon?: IconName
  isSmall?: boolean
  ref?: Ref<HTMLButtonElement>
}

function classes(kind: string, isSmall: boolean, more: string): string {
  return `w-button w-button-${kind}${isSmall ? " w-button-small" : ""} ${more}`.trim()
}

export function Button({
  kind = "plain",
  icon,
  isSmall = false,
  className = "",
  children,
  ...rest
}: ButtonProps) {
  return (
    <button type="button" className={classes(kind, isSmall, className)} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  )
}

export interface IconButtonProps extends Omit<ButtonProps, "children" | "icon"> {
  icon: IconName
  /** What it does, in words: its name, and its tooltip. */
  label: string
}

export function IconButton({
  icon,
  label,
  kind = "quiet",
  isSmall = false,
  className = "",
  ...rest
}: IconButtonProps) {
  return (
    <Tooltip text={label}>
      <button
        type="button"
        aria-label={label}
        className={classes(kind, isSmall, `w-button-icon ${className}`)}
        {...rest}
      >
        <Icon name={icon} />
      </button>
    </Tooltip>
  )
}

/** One of a few choices, all of them shown. */
export function Segments<T extends string>({
  label,
  options,
  value,
  onChange,
}: {
  label: string
  options: readonly { value: T; label: string }[]
  value: T
  onChange: (value: T) => void
}) {
  return (
    <div className="w-segments" role="group" aria-label={label}>
      {options.map((option) => (
        <Button
          key={option.value}
          aria-pressed={option.value === value}
          onClick={() => onChange(option.value)}
        >
          {option.label}
        </Button>
      ))}
    </div>
  )
}
