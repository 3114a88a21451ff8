import { IconButton } from "../controls/button"
import { isFramed } from "../router"
import { chooseTheme, useTheme } from "../theme"

/** Light or dark, where no shell decides. */
export function ThemeSwitch() {
  const theme = useTheme()
  if (isFramed()) return null
  const other = theme === "dark" ? "light" : "dark"
  return (
    <IconButton
      icon={theme === "dark" ? "sun" : "moon"}
      label={`Use the ${other} theme`}
      onClick={() => chooseTheme(other)}
    />
  )
}
