// Pending steps: the list, and the one that is looked at.
import { caughtUp, connection, decided, pending, refusal } from "../state/feed.ts";
import { kind, search, selected, shown } from "../state/inbox.ts";
import { isNarrow } from "../state/look.ts";
import { toPending } from "../state/route.ts";
import type { Approval } from "../api/types.ts";
import { about, kindOf, said } from "../text/words.ts";
import { ApprovalPage } from "./approval.tsx";
import { Ago, Kind, Trouble } from "./bits.tsx";
import { Boundary } from "./boundary.tsx";
import { Code, Text } from "./text.tsx";

const MOST_CARDS = 200;

export function Inbox() {
  const chosen = selected.value;
  return (
    <div class={chosen ? "inbox chosen" : "inbox"}>
      <section class="list" aria-label="Pending steps">
        <Filter />
        <Trouble problem={refusal.value} />
        <List />
        <Decided />
      </section>
      <section class="detail" aria-label="The step">
        {chosen ? (
          <Boundary key={chosen}>
            <ApprovalPage />
          </Boundary>
        ) : (
          <Nothing />
        )}
      </section>
    </div>
  );
}

function Filter() {
  return (
    <div class="filter" role="search">
      <input
        type="search"
        aria-label="Search pending steps"
        placeholder="Search"
        value={search.value}
        onInput={(event) => (search.value = event.currentTarget.value)}
      />
      <select aria-label="Kind of step" value={kind.value} onChange={(event) => (kind.value = event.currentTarget.value)}>
        <option value="">All kinds</option>
        <option value="run_command">Commands</option>
        <option value="edit_file">Edits</option>
        <option value="read_file">Reads</option>
        <option value="analyze">Analyses</option>
        <option value="summarize">Summaries</option>
      </select>
    </div>
  );
}

function List() {
  const list = shown.value;
  const hidden = pending.value.length - list.length;
  return (
    <>
      <ul class="cards">
        {list.slice(0, MOST_CARDS).map((each) => (
          <Card key={each.approvalId} approval={each} />
        ))}
      </ul>
      {list.length > MOST_CARDS && <p class="empty">and {list.length - MOST_CARDS} more: search, or decide about these first</p>}
      {!list.length && caughtUp.value && (
        <p class="empty">{hidden ? "None of what is pending matches." : "Nothing waits for a decision."}</p>
      )}
      {!caughtUp.value && connection.value !== "refused" && <p class="empty">Asking what is pending…</p>}
      {hidden > 0 && (
        <button
          type="button"
          class="more"
          onClick={() => {
            search.value = "";
            kind.value = "";
          }}
        >
          {hidden} hidden by the filter. Show all
        </button>
      )}
    </>
  );
}

function Card({ approval }: { approval: Approval }) {
  const here = approval.approvalId === selected.value;
  const need = approval.stages?.find((stage) => (stage.votes ?? 0) < (stage.quorum ?? 1));
  return (
    <li>
      <a class="card" href={toPending(approval.approvalId)} aria-current={here ? "true" : undefined}>
        <span class="card-top">
          <Kind kind={kindOf(approval.spec)} />
          <span class="space" />
          <Ago time={approval.requestedAt} />
        </span>
        <Code class="title" text={about(approval.spec) || approval.title} />
        <span class="fine clip">
          <Text text={approval.goal} /> · step {approval.step}
          {need && ` · ${need.votes ?? 0} of ${need.quorum ?? 1} approved`}
          {approval.replaces && " · new preview"}
        </span>
      </a>
    </li>
  );
}

function Decided() {
  const list = decided.value.slice(0, 30);
  if (!list.length) return null;
  return (
    <details class="decided">
      <summary>Decided since this page is open ({decided.value.length})</summary>
      <ul class="cards">
        {list.map((each) => (
          <li key={each.approvalId}>
            <a class="card" href={toPending(each.approvalId)} aria-current={each.approvalId === selected.value ? "true" : undefined}>
              <Code class="title" text={about(each.spec) || each.title} />
              <span class="fine clip">{said(each)}</span>
            </a>
          </li>
        ))}
      </ul>
    </details>
  );
}

function Nothing() {
  if (isNarrow.value) return null;
  const waiting = shown.value.length;
  return (
    <div class="nothing">
      <img src="/console/icon.svg" alt="" width="56" height="56" />
      <p>{waiting ? "Choose a step to see what it would do." : "All decided. New steps appear here by themselves."}</p>
      {waiting > 0 && (
        <p class="fine">
          <kbd>j</kbd> and <kbd>k</kbd> go through the list, <kbd>?</kbd> shows every key.
        </p>
      )}
    </div>
  );
}
