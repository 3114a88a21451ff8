import { Button, IconButton } from "../controls/button"
import { useWorkspace } from "./workspace-context"

/** What was just done, for some seconds, with a way back where there is one. */
export function Toast() {
  const { notice, tell } = useWorkspace()
  return (
    <div className="w-toast-place" role="status">
      {notice && (
        <div className="w-toast">
          <span>{notice.text}</span>
          {notice.undo && (
            <Button
              isSmall
              onClick={() => {
                notice.undo?.()
                tell(null)
              }}
            >
              Undo
            </Button>
          )}
          <IconButton icon="close" label="Close" isSmall onClick={() => tell(null)} />
        </div>
      )}
    </div>
  )
}
