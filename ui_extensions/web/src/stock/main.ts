/** Runs on MLflow's own page: adds the ways into the extension's pages. */

export {}
