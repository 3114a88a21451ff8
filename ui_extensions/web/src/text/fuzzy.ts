/** How well a text fits what somebody types; 0 where it does not. Letters in order fit; a run of them better. */
export function fuzzyScore(text: string, wanted: string): number {
  if (!wanted) return 1
  const lower = text.toLowerCase()
  const whole = lower.indexOf(wanted)
  if (whole >= 0) return 1_000 - whole
  let at = 0
  for (const letter of wanted) {
    at = lower.indexOf(letter, at) + 1
    if (at === 0) return 0
  }
  return 1
}
