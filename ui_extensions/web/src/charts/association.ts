/**
 * How a param goes with a metric over runs: Spearman's rank correlation for numbers, and the
 * correlation ratio η of ranks for words. Both say that two things go together and no more: not that
 * one makes the other.
 */

export interface Association {
  key: string
  /** 0 to 1: |ρ| or η. */
  strength: number
  /** ρ, with its sign; null for words. */
  correlation: number | null
  /** Runs that have both. */
  n: number
}

/** Ranks from 1; those that are equal share the mean of theirs. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, at) => at).sort((a, b) => (values[a] as number) - (values[b] as number))
  const found = new Array<number>(values.length)
  for (let from = 0; from < order.length; ) {
    let to = from
    while (to + 1 < order.length && values[order[to + 1] as number] === values[order[from] as number]) to += 1
    for (let at = from; at <= to; at += 1) found[order[at] as number] = (from + to) / 2 + 1
    from = to + 1
  }
  return found
}

function correlation(a: readonly number[], b: readonly number[]): number {
  const n = a.length
  const mean = (values: readonly number[]): number => values.reduce((x, y) => x + y, 0) / n
  const ma = mean(a)
  const mb = mean(b)
  let ab = 0
  let aa = 0
  let bb = 0
  for (let at = 0; at < n; at += 1) {
    const da = (a[at] as number) - ma
    const db = (b[at] as number) - mb
    ab += da * db
    aa += da * da
    bb += db * db
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0
}

/** Compare a param with a metric; null where fewer than 3 runs have both, or it never differs. */
export function associate(
  key: string,
  params: readonly (string | null)[],
  metric: readonly (number | null)[],
): Association | null {
  const words: string[] = []
  const values: number[] = []
  params.forEach((param, at) => {
    const value = metric[at]
    if (param === null || value === null || value === undefined || !Number.isFinite(value)) return
    words.push(param)
    values.push(value)
  })
  if (values.length < 3 || new Set(words).size < 2) return null
  const own = ranks(values)
  const numbers = words.map((word) => (word.trim() === "" ? NaN : Number(word)))
  if (numbers.every((one) => Number.isFinite(one))) {
    const rho = correlation(ranks(numbers), own)
    return { key, strength: Math.abs(rho), correlation: rho, n: values.length }
  }
  const groups = new Map<string, number[]>()
  words.forEach((word, at) => {
    const group = groups.get(word)
    if (group) group.push(own[at] as number)
    else groups.set(word, [own[at] as number])
  })
  if (groups.size === words.length) return null // every run its own word: it would explain anything
  const mean = (own.length + 1) / 2
  let between = 0
  let total = 0
  for (const group of groups.values()) {
    const own_ = group.reduce((a, b) => a + b, 0) / group.length
    between += group.length * (own_ - mean) ** 2
    for (const rank of group) total += (rank - mean) ** 2
  }
  return { key, strength: total > 0 ? Math.sqrt(between / total) : 0, correlation: null, n: values.length }
}
