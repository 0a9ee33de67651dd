// Rejecting and skipping: both ask for the reason.
import { useState } from "preact/hooks";
import type { Approval } from "../api/types.ts";
import { type Answer, decide, sending } from "../state/deciding.ts";
import { about } from "../text/words.ts";
import { Buttons, Dialog } from "./dialog.tsx";
import { Code } from "./text.tsx";

interface Props {
  approval: Approval;
  comment: string;
  close(): void;
}

const AFTERWARDS: [string, string, string][] = [
  ["REJECT_ACTION_FAIL_RUN", "End the run", "It fails here; nothing of this step takes effect."],
  ["REJECT_ACTION_SKIP_STEP", "Go on without this step", "The step is rejected, the next one begins."],
  ["REJECT_ACTION_REPLAN", "Send it back to the planner", "With your comment; it replaces the rest of the plan."],
];

export function RejectDialog({ approval, comment, close }: Props) {
  const [action, setAction] = useState(AFTERWARDS[0]?.[0] ?? "");
  return (
    <Refusal title="Reject this step" button="Reject" answer={{ reject: { action } }} {...{ approval, comment, close }}>
      <fieldset>
        <legend>And then</legend>
        {AFTERWARDS.map(([value, words, more]) => (
          <label key={value} class="radio">
            <input type="radio" name="action" value={value} checked={action === value} onChange={() => setAction(value)} />
            <span>
              {words}
              <span class="fine">{more}</span>
            </span>
          </label>
        ))}
      </fieldset>
    </Refusal>
  );
}

export function SkipDialog(props: Props) {
  return (
    <Refusal title="Skip this step" button="Skip" answer={{ skip: {} }} {...props}>
      <p>It is passed over, and the run goes on with the next one.</p>
    </Refusal>
  );
}

interface RefusalProps extends Props {
  title: string;
  button: string;
  answer: Answer;
  children: preact.ComponentChildren;
}

function Refusal({ title, button, answer, approval, comment, close, children }: RefusalProps) {
  const [text, setText] = useState(comment);
  const submit = async (): Promise<void> => {
    if (await decide(approval, answer, text)) close();
  };
  return (
    <Dialog title={title} close={close} submit={() => void submit()}>
      <p class="clip">
        <Code text={about(approval.spec)} />
      </p>
      <label class="field">
        Comment
        <textarea rows={4} maxLength={10000} data-first value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
      {children}
      <Buttons close={close}>
        <button type="submit" class={button === "Reject" ? "danger solid" : "primary"} disabled={sending.value}>
          {button}
        </button>
      </Buttons>
    </Dialog>
  );
}
