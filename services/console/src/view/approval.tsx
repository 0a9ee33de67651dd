// One approval: what would happen, who has a say, and the decision.
import { effect } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { Approval } from "../api/types.ts";
import { actions } from "../keys.ts";
import { decide, sending } from "../state/deciding.ts";
import { isPending } from "../state/feed.ts";
import { current, load, loading, open, problem, selected, stale } from "../state/inbox.ts";
import { toPending, toRun } from "../state/route.ts";
import { cannotApprove } from "../state/say.ts";
import { mayStandFor, standsFor } from "../state/delegations.ts";
import { caller, mayDecide } from "../state/session.ts";
import { plain } from "../text/visible.ts";
import { about, approvalState, gateName, kindOf, said } from "../text/words.ts";
import { ChangedSince } from "./changed.tsx";
import { EnvelopeDialog } from "./envelope.tsx";
import { EditDialog } from "./edit.tsx";
import { Ago, Fact, Id, Kind, Labels, State, Trouble } from "./bits.tsx";
import { RejectDialog, SkipDialog } from "./refuse.tsx";
import { Effect } from "./effect.tsx";
import { Rulings } from "./ruling.tsx";
import { Say } from "./say.tsx";
import { Spec } from "./spec.tsx";
import { Code, Text } from "./text.tsx";

// A key pressed for the step before must not decide about the one that has just come into its place.
const SETTLING_MILLIS = 350;

type Asking = "" | "reject" | "skip" | "edit" | "envelope";

export function ApprovalPage() {
  const approval = current.value;
  if (problem.value) return <Trouble problem={problem.value} again={() => void load(selected.value)} />;
  if (!approval) return loading.value ? <p class="empty">Loading the preview…</p> : null;
  return <Shown approval={approval} />;
}

function Shown({ approval }: { approval: Approval }) {
  const [asking, setAsking] = useState<Asking>("");
  const [comment, setComment] = useState("");
  const [settled, setSettled] = useState(false);
  const can = isPending(approval) && !stale.value && mayDecide.value;
  useEffect(() => {
    standsFor.value = "";
    const timer = setTimeout(() => setSettled(true), SETTLING_MILLIS);
    return () => clearTimeout(timer);
  }, []);
  const against = cannotApprove(approval, caller.value?.subject ?? "", standsFor.value);
  const approve = (): void => void (against || decide(approval, { approve: {} }, comment));
  useEffect(() => {
    if (!can || !settled) return;
    actions.value = { a: approve, r: () => setAsking("reject"), s: () => setAsking("skip"), e: () => setAsking("edit"), m: () => setAsking(against ? "" : "envelope") };
    return () => {
      actions.value = {};
    };
  }, [can, settled, comment, against, approval.digest]);
  // A question that somebody else has answered is not asked any more.
  useEffect(() => effect(() => void (current.value && !isPending(current.value) && setAsking(""))), []);
  const close = (): void => setAsking("");
  return (
    <article class="approval" data-ready={can && settled ? "" : undefined} aria-labelledby="approval-title">
      <Head approval={approval} />
      <Outcome approval={approval} />
      <ChangedSince of={approval.preview?.changedSince} />
      <Rulings rulings={[approval.ruling]} />
      <Say approval={approval} />
      <Spec spec={approval.spec} argv={approval.preview?.argv} titled={!approval.spec?.name} />
      <Effect effect={approval.preview} gate={approval.gate} limits={approval.limits} spec={approval.spec} />
      <p class="fine digest">
        A decision is about <code>{approval.digest}</code>
      </p>
      {isPending(approval) && (
        <Bar approval={approval} can={can} comment={comment} setComment={setComment} approve={approve} ask={setAsking} />
      )}
      {asking === "reject" && <RejectDialog approval={approval} comment={comment} close={close} />}
      {asking === "skip" && <SkipDialog approval={approval} comment={comment} close={close} />}
      {asking === "envelope" && <EnvelopeDialog approval={approval} comment={comment} close={close} />}
      {asking === "edit" && <EditDialog approval={approval} comment={comment} close={close} />}
    </article>
  );
}

function Head({ approval }: { approval: Approval }) {
  const gate = gateName(approval.gate);
  return (
    <header class="approval-head">
      <a class="back narrow-only" href={toPending()}>
        ← All pending
      </a>
      <p class="over">
        <Kind kind={kindOf(approval.spec)} />
        <State state={approvalState(approval.state) === "pending" ? "awaiting approval" : approvalState(approval.state)} />
        <span class="fine">{gate === "command" ? "before it runs" : "before its effect is published"}</span>
      </p>
      <h2 id="approval-title">
        {approval.spec?.name ? <Text text={approval.spec.name} /> : <Code text={about(approval.spec) || approval.title} />}
      </h2>
      <dl class="facts">
        <Fact name="Goal">
          <Text text={approval.goal} />
        </Fact>
        <Fact name="Run">
          <a href={toRun(approval.runId, approval.step)}>
            step {approval.step} of <Id id={approval.runId} />
          </a>
          {(approval.attempt ?? 1) > 1 && ` · attempt ${approval.attempt}`}
        </Fact>
        <Fact name="Asked">
          <Ago time={approval.requestedAt} />
          {approval.expiresAt && isPending(approval) && ` · expires ${new Date(approval.expiresAt).toLocaleString()}`}
        </Fact>
        {approval.editedBy && (
          <Fact name="Edited by">
            <Text text={approval.editedBy} />
          </Fact>
        )}
        {(approval.labels || approval.workspaceLabels) && (
          <Fact name="Labels">
            <Labels labels={{ ...approval.workspaceLabels, ...approval.labels }} />
          </Fact>
        )}
      </dl>
      {approval.outside && (
        <p class="warning" role="note">
          Not approved in advance: <Text text={approval.outside} />
        </p>
      )}
      {approval.gateNote && (
        <p class="warning" role="note">
          <Text text={approval.gateNote} />
        </p>
      )}
    </header>
  );
}

/** What became of it, when it is not pending any more, or not as it is shown. */
function Outcome({ approval }: { approval: Approval }) {
  if (stale.value && isPending(approval))
    return (
      <div class="banner wait" role="alert">
        <p>What this step would do has changed since it was shown here.</p>
        <button type="button" onClick={() => void load(approval.approvalId)}>
          Show it as it is now
        </button>
      </div>
    );
  if (isPending(approval)) return null;
  const replaced = approval.state === "APPROVAL_STATE_SUPERSEDED";
  const good = approval.state === "APPROVAL_STATE_APPROVED";
  return (
    <div class={`banner ${good ? "good" : replaced ? "wait" : "off"}`} role="status">
      <p>
        <strong>{replaced ? "The workspace has changed: this preview counts no more." : said(approval)}</strong>{" "}
        <Ago time={approval.resolvedAt} />
      </p>
      {approval.decision?.comment && (
        <blockquote>
          <Text text={approval.decision.comment} block />
        </blockquote>
      )}
      {approval.supersededBy && <a href={toPending(approval.supersededBy)}>See the new preview</a>}
    </div>
  );
}

interface BarProps {
  approval: Approval;
  can: boolean;
  comment: string;
  setComment(text: string): void;
  approve(): void;
  ask(what: Asking): void;
}

function Bar({ approval, can, comment, setComment, approve, ask }: BarProps) {
  const off = !can || sending.value || !open.value;
  const against = cannotApprove(approval, caller.value?.subject ?? "", standsFor.value);
  return (
    <div class="bar" role="group" aria-label="Decision">
      {!mayDecide.value && <p class="fine">You may look, and not decide: that takes the role approver.</p>}
      {mayDecide.value && against && <p class="fine">{against}</p>}
      {mayStandFor.value.length > 0 && (
        <select aria-label="In whose place" value={standsFor.value} onChange={(event) => (standsFor.value = event.currentTarget.value)}>
          <option value="">For yourself</option>
          {mayStandFor.value.map((subject) => (
            <option key={subject} value={subject}>
              For {plain(subject)}
            </option>
          ))}
        </select>
      )}
      <input
        type="text"
        class="comment"
        aria-label="Comment"
        placeholder="Comment (optional)"
        maxLength={10000}
        value={comment}
        onInput={(event) => setComment(event.currentTarget.value)}
      />
      <div class="bar-buttons">
        <button type="button" class="primary" disabled={off || against !== ""} onClick={approve} aria-keyshortcuts="a">
          Approve <kbd aria-hidden="true">a</kbd>
        </button>
        <button type="button" class="danger" disabled={off} onClick={() => ask("reject")} aria-keyshortcuts="r">
          Reject <kbd aria-hidden="true">r</kbd>
        </button>
        <button type="button" disabled={off} onClick={() => ask("edit")} aria-keyshortcuts="e">
          Edit <kbd aria-hidden="true">e</kbd>
        </button>
        <button type="button" disabled={off} onClick={() => ask("skip")} aria-keyshortcuts="s">
          Skip <kbd aria-hidden="true">s</kbd>
        </button>
        <button type="button" disabled={off || against !== ""} onClick={() => ask("envelope")} aria-keyshortcuts="m" aria-label="More like it">
          More <kbd aria-hidden="true">m</kbd>
        </button>
      </div>
    </div>
  );
}
