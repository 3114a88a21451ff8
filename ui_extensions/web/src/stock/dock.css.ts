/** The dock's own style sheet, inside its shadow root; MLflow's page gets none of it. */
export const DOCK_CSS = `
:host { all: initial; }
nav {
  position: fixed; z-index: 9; display: flex; align-items: center; height: 32px; padding: 0 4px;
  border-radius: 999px; font: 13px/20px -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  background: #ffffff; color: #161616; border: 1px solid #cbcbcb; box-shadow: 0 2px 16px rgba(0,0,0,.08);
}
:host([data-theme="dark"]) nav { background: #11171c; color: #e8ecf0; border-color: #37444f; box-shadow: 0 2px 16px rgba(0,0,0,.61); }
a, button {
  display: inline-flex; align-items: center; justify-content: center; min-width: 24px; height: 24px; padding: 0 10px; border: 0; border-radius: 999px;
  background: none; color: inherit; font: inherit; text-decoration: none; cursor: pointer; white-space: nowrap;
}
a > span { margin-left: 4px; color: #6f6f6f; font-size: 12px; }
:host([data-theme="dark"]) a > span { color: #92a4b3; }
button { padding: 0; }
a:hover, button:hover { background: rgba(34,114,180,.08); color: #0e538b; }
:host([data-theme="dark"]) a:hover, :host([data-theme="dark"]) button:hover { background: rgba(138,202,255,.08); color: #8acaff; }
a:focus-visible, button:focus-visible { outline: 2px solid #2272b4; outline-offset: 1px; }
svg { width: 16px; height: 16px; fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; }
@media print { nav { display: none; } }
`
