// Approving more than one step: bounds for the rest of the run.
import { useState } from "preact/hooks";
import type { Approval, Envelope, Run } from "../api/types.ts";
import { decide, sending } from "../state/deciding.ts";
import { boundsOf, proposedCommand, proposedPaths } from "../state/envelope.ts";
import { mayDecide } from "../state/session.ts";
import { act, busy, ofRun } from "../state/steering.ts";
import { Ago, Section } from "./bits.tsx";
import { Buttons, Dialog } from "./dialog.tsx";
import { Code, Text } from "./text.tsx";

const STEPS = 20;

interface Props {
  approval: Approval;
  comment: string;
  close(): void;
}

export function EnvelopeDialog({ approval, comment, close }: Props) {
  const [paths, setPaths] = useState(proposedPaths(approval).join("\n"));
  const [commands, setCommands] = useState(proposedCommand(approval));
  const [steps, setSteps] = useState(STEPS);
  const [text, setText] = useState(comment);
  const submit = async (): Promise<void> => {
    const envelope = boundsOf(paths, commands, steps);
    if (await decide(approval, { approve: { envelope } }, text)) close();
  };
  return (
    <Dialog title="Approve this, and what is like it" close={close} submit={() => void submit()}>
      <p class="fine">
        Later steps of this run that stay within these bounds, by what they are seen to do, do not ask. The first one outside
        does.
      </p>
      <label class="field">
        Paths that may change, a glob a line
        <textarea class="mono" rows={3} required data-first spellcheck={false} placeholder="src/**" value={paths} onInput={(event) => setPaths(event.currentTarget.value)} />
      </label>
      <label class="field">
        Commands by their first words, one a line (none: edits alone)
        <textarea class="mono" rows={2} spellcheck={false} value={commands} onInput={(event) => setCommands(event.currentTarget.value)} />
      </label>
      <label class="field">
        Steps at most
        <input type="number" min={1} max={1000} value={steps} onInput={(event) => setSteps(Number(event.currentTarget.value) || STEPS)} />
      </label>
      <label class="field">
        Reason
        <input maxLength={10000} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
      <Buttons close={close}>
        <button type="submit" class="primary" disabled={sending.value}>
          Approve
        </button>
      </Buttons>
    </Dialog>
  );
}

/** The envelopes of a run, and how to take them back. */
export function Envelopes({ run }: { run: Run }) {
  if (!run.envelopes?.length) return null;
  return (
    <Section title="Approved in advance">
      <ul class="stages">
        {run.envelopes.map((each) => (
          <One key={each.envelopeId} envelope={each} run={run} />
        ))}
      </ul>
    </Section>
  );
}

function One({ envelope, run }: { envelope: Envelope; run: Run }) {
  const active = envelope.state === "ENVELOPE_STATE_ACTIVE";
  const { paths = [], commands = [], maxSteps } = envelope.bounds ?? {};
  const revoke = (): void =>
    void act(`${ofRun(run.runId, "").slice(0, -1)}/envelopes/${encodeURIComponent(envelope.envelopeId)}:revoke`, {}, "Taken back.");
  return (
    <li class={active ? "done" : ""}>
      <p>
        {paths.map((path) => (
          <Code key={path} class="label" text={path} />
        ))}{" "}
        {commands.map((command) => (
          <Code key={command.words.join(" ")} class="label" text={command.words.join(" ")} />
        ))}
      </p>
      <p class="fine">
        {envelope.steps?.length ?? 0} of {maxSteps || STEPS} steps · by <Text text={envelope.grantedBy} /> <Ago time={envelope.grantedAt} />
        {envelope.revokedBy && (
          <>
            {" · taken back by "}
            <Text text={envelope.revokedBy} />
          </>
        )}
        {envelope.state === "ENVELOPE_STATE_EXHAUSTED" && " · used up"} <Text text={envelope.comment} />
      </p>
      {active && mayDecide.value && (
        <div class="buttons start">
          <button type="button" disabled={busy.value} onClick={revoke}>
            Take it back
          </button>
        </div>
      )}
    </li>
  );
}
