import type { ReactNode } from "react"
import { useState } from "react"

import { count } from "../text/format"

/** The step that is chosen of some, and the slider that chooses; the last until one is chosen. */
export function useStepSlider(
  steps: readonly number[],
  className: string,
): [step: number | null, slider: ReactNode] {
  const [at, setAt] = useState(Number.POSITIVE_INFINITY)
  const index = Math.min(at, steps.length - 1)
  const step = steps[index] ?? null
  const slider = steps.length > 1 && (
    <label className={className}>
      Step
      <input
        type="range"
        min={0}
        max={steps.length - 1}
        value={index}
        aria-valuetext={`step ${step}`}
        onChange={(event) => setAt(Number(event.target.value))}
      />
      <output>{step === null ? "–" : count(step)}</output>
    </label>
  )
  return [step, slider]
}
