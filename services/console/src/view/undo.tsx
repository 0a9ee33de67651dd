// Undoing: what it would do is shown first.
import { useEffect, useState } from "preact/hooks";
import { type Problem, problemOf } from "../api/problem.ts";
import type { Undoing } from "../api/types.ts";
import { act, busy, preview, type Undo, undoBody, undoPath } from "../state/steering.ts";
import { Trouble } from "./bits.tsx";
import { Buttons, Dialog } from "./dialog.tsx";
import { Diff } from "./diff.tsx";
import { Text } from "./text.tsx";

function title(undo: Undo): string {
  if (undo.kind === "revert") return `Undo step ${undo.step}`;
  return undo.step ? `Go back to after step ${undo.step}` : "Undo the whole run";
}

export function UndoDialog({ undo, close }: { undo: Undo; close(): void }) {
  const [would, setWould] = useState<Undoing | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [discard, setDiscard] = useState(false);
  const [comment, setComment] = useState("");
  useEffect(() => {
    let gone = false;
    setWould(null);
    setProblem(null);
    preview(undo, discard).then(
      (answer) => !gone && setWould(answer),
      (error: unknown) => !gone && setProblem(problemOf(error)),
    );
    return () => {
      gone = true;
    };
  }, [discard]);
  const changes = Number(would?.changesTotal ?? 0);
  const submit = async (): Promise<void> => {
    if (would && (await act(undoPath(undo), { ...undoBody(undo, discard), comment }, "Undone."))) close();
  };
  return (
    <Dialog title={title(undo)} wide close={close} submit={() => void submit()}>
      <Trouble problem={problem} />
      {problem?.metadata["paths"] && (
        <p class="warning">
          <Text text={problem.metadata["paths"]} />
        </p>
      )}
      {!would && !problem && <p class="empty">Finding out what it would do…</p>}
      {would && changes === 0 && <p>Nothing in the workspace would change.</p>}
      {would && changes > 0 && (
        <>
          <p>
            It changes {changes} {changes === 1 ? "path" : "paths"} in the workspace
            {would.merged ? "; what others have changed since stays." : "."}
          </p>
          <div class="boxed">
            <Diff of={would} />
          </div>
        </>
      )}
      {undo.kind === "rollback" && (
        <label class="radio">
          <input type="checkbox" checked={discard} onChange={(event) => setDiscard(event.currentTarget.checked)} />
          <span>Also discard what others have changed since</span>
        </label>
      )}
      <label class="field">
        Comment
        <input maxLength={10000} value={comment} data-first onInput={(event) => setComment(event.currentTarget.value)} />
      </label>
      <Buttons close={close}>
        <button type="submit" class="danger solid" disabled={!would || busy.value}>
          Undo
        </button>
      </Buttons>
    </Dialog>
  );
}
