import type { ReactNode } from "react"
import { Suspense } from "react"

import { Dialog } from "./dialog"
import { ErrorBoundary, Failed } from "./state"

/** Around a dialog that comes `later`: where its code does not come, a dialog says so, and no more. */
export function LaterDialog({
  title,
  onClose,
  children,
}: {
  title: string
  onClose: () => void
  children: ReactNode
}) {
  return (
    <ErrorBoundary
      what={title}
      instead={(error, retry) => (
        <Dialog title={title} onClose={onClose}>
          <Failed what="This cannot be shown" error={error} onRetry={retry} />
        </Dialog>
      )}
    >
      <Suspense fallback={null}>{children}</Suspense>
    </ErrorBoundary>
  )
}
