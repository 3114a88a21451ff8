/** Whether a larger value of a metric is the better one: as somebody said, else by its name. */

const HIGHER = /(^|[/_.\- ])(acc|accuracy|auc|auroc|f1|f1_score|precision|recall|score|reward|return|map|iou|dice|bleu|rouge|r2|psnr|ssim|throughput)([/_.\- @0-9]|$)/i

/** @param said Keys with `+` in front where higher is better, with `-` where lower is. */
export function isHigherBetter(key: string, said: readonly string[]): boolean {
  if (said.includes(`+${key}`)) return true
  if (said.includes(`-${key}`)) return false
  return HIGHER.test(key)
}

export function sayDirection(key: string, isHigher: boolean, said: readonly string[]): string[] {
  const others = said.filter((one) => one.slice(1) !== key)
  return [...others, `${isHigher ? "+" : "-"}${key}`]
}
