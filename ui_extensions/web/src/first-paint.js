// Runs before anything is painted, in every browser alike; theme.ts follows what changes later.
;(function () {
  var root = document.documentElement
  var isDark
  try {
    if (window.parent !== window && new URLSearchParams(location.search).has("shell")) {
      isDark = window.parent.document.body.classList.contains("dark-mode")
    }
    if (isDark === undefined) {
      var stored = localStorage.getItem("_mlflow_dark_mode_toggle_enabled")
      if (stored === "true" || stored === "false") isDark = stored === "true"
    }
  } catch (error) {
    // Storage or the parent is out of reach: the system's own choice stands.
  }
  if (isDark === undefined) isDark = matchMedia("(prefers-color-scheme: dark)").matches
  root.dataset.theme = isDark ? "dark" : "light"
})()
