/** The four states of a region: loading, empty, error, and what it is for. */

import type { ReactNode } from "react"
import { Component } from "react"

import type { Answer } from "../api/use-answer"
import { Button } from "./button"
import { Icon } from "./icon"
import { CodeMissing, forgetMissing, reloadIfUpgraded } from "./later"

/** Grey boxes in the final size, after 150 ms. */
export function Skeleton({ height = 16, width = "100%" }: { height?: number; width?: string }) {
  return <span className="w-skeleton" style={{ height, width }} />
}

export function Loading({ label = "Loading", rows = 6 }: { label?: string; rows?: number }) {
  return (
    <div role="status" className="w-loading">
      <span className="w-hidden-text">{label}</span>
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={20} width={`${90 - ((row * 17) % 40)}%`} />
      ))}
    </div>
  )
}

/** One sentence, and the one next action. */
export function Empty({ children, action }: { children: ReactNode; action?: ReactNode }) {
  return (
    <div className="w-state">
      <div>{children}</div>
      {action}
    </div>
  )
}

/** What failed, what is still true, and Retry. */
export function Failed({
  what,
  error,
  onRetry,
}: {
  what: string
  error: Error
  onRetry?: (() => void) | undefined
}) {
  return (
    <div className="w-state w-state-error" role="alert">
      <Icon name="error" />
      <div>
        {what}: {error.message}.
      </div>
      {onRetry && (
        <Button isSmall icon="refresh" onClick={onRetry}>
          Retry
        </Button>
      )}
    </div>
  )
}

/**
 * What an answer of the API looks like: a skeleton first, then the data, which stays when asking
 * again fails.
 */
export function StateOf<T>({
  answer,
  what,
  loading,
  empty,
  isEmpty,
  children,
}: {
  answer: Answer<T>
  /** For the error: "The console could not be read". */
  what: string
  loading?: ReactNode
  empty?: ReactNode
  isEmpty?: (data: T) => boolean
  children: (data: T) => ReactNode
}) {
  const { data, error, retry } = answer
  if (data !== null) {
    return (
      <>
        {error && <Failed what={what} error={error} onRetry={retry} />}
        {isEmpty?.(data) ? empty : children(data)}
      </>
    )
  }
  if (error) return <Failed what={what} error={error} onRetry={retry} />
  return loading ?? <Loading />
}

interface BoundaryProps {
  /** For the message: "The charts". */
  what: string
  /** Another key tries again. */
  resetKey?: string
  /** What is shown of a fault; by default what `Failed` says. */
  instead?: (error: Error, retry: () => void) => ReactNode
  children: ReactNode
}

/** Keeps a fault in one region from taking the page with it. */
export class ErrorBoundary extends Component<BoundaryProps, { error: Error | null }> {
  override state: { error: Error | null } = { error: null }

  static getDerivedStateFromError(error: unknown): { error: Error } {
    return { error: error instanceof Error ? error : new Error(String(error)) }
  }

  override componentDidUpdate(before: BoundaryProps): void {
    if (this.state.error && before.resetKey !== this.props.resetKey) this.retry()
  }

  retry = (): void => {
    if (this.state.error instanceof CodeMissing) {
      forgetMissing()
      void reloadIfUpgraded()
    }
    this.setState({ error: null })
  }

  override render(): ReactNode {
    const { error } = this.state
    if (!error) return this.props.children
    const { what, instead } = this.props
    if (instead) return instead(error, this.retry)
    return <Failed what={`${what} cannot be shown`} error={error} onRetry={this.retry} />
  }
}
