// Every open question, as it comes and goes: first what is pending, then what happens to it, over one stream.
import { computed, signal } from "@preact/signals";
import { follow } from "../api/follow.ts";
import type { Problem } from "../api/problem.ts";
import type { Approval, ApprovalUpdate } from "../api/types.ts";
import { announce } from "./announce.ts";
import { said } from "../text/words.ts";

export type Connection = "connecting" | "live" | "lost" | "refused";

export const connection = signal<Connection>("connecting");
export const refusal = signal<Problem | null>(null);
export const caughtUp = signal(false);
/** By id, without previews: what is pending, and what was decided since this page is open. */
export const approvals = signal<ReadonlyMap<string, Approval>>(new Map());
/** Counts changes; what is shown of runs is asked for again after one. */
export const pulse = signal(0);

const KEPT_DECIDED = 200;

export const isPending = (approval: Approval): boolean => approval.state === "APPROVAL_STATE_PENDING";

const byAge = (a: Approval, b: Approval): number =>
  (a.requestedAt ?? "").localeCompare(b.requestedAt ?? "") || a.approvalId.localeCompare(b.approvalId);

export const pending = computed(() => [...approvals.value.values()].filter(isPending).sort(byAge));

export const decided = computed(() =>
  [...approvals.value.values()]
    .filter((each) => !isPending(each))
    .sort((a, b) => (b.resolvedAt ?? "").localeCompare(a.resolvedAt ?? "")),
);

/** Keep an approval as it is now. An answered question never becomes open again. */
export function keep(approval: Approval): void {
  const before = approvals.value.get(approval.approvalId);
  if (before && !isPending(before) && isPending(approval)) return;
  const { preview: _, ...rest } = approval;
  const next = new Map(approvals.value).set(approval.approvalId, rest);
  approvals.value = next.size > KEPT_DECIDED * 2 ? bounded(next) : next;
  pulse.value++;
}

/** All that is pending, and the latest of the others. */
function bounded(all: Map<string, Approval>): Map<string, Approval> {
  const others = [...all.values()].filter((each) => !isPending(each));
  others.sort((a, b) => (a.resolvedAt ?? "").localeCompare(b.resolvedAt ?? ""));
  for (const each of others.slice(0, -KEPT_DECIDED)) all.delete(each.approvalId);
  return all;
}

let running: { stop(): void } | null = null;
let asked = new Set<string>();

export function start(): void {
  stop();
  connection.value = "connecting";
  running = follow<ApprovalUpdate>("/v1/approvals:subscribe", {
    message: take,
    live: () => {
      connection.value = "live";
      // A new subscription says again what is pending; what it does not say was decided meanwhile.
      if (!caughtUp.value) asked = new Set();
    },
    lost: () => {
      connection.value = "lost";
    },
    reset: () => {
      caughtUp.value = false;
    },
    refused: (problem) => {
      connection.value = "refused";
      refusal.value = problem;
    },
  });
}

export function stop(): void {
  running?.stop();
  running = null;
  approvals.value = new Map();
  caughtUp.value = false;
  refusal.value = null;
}

function take(update: ApprovalUpdate): void {
  connection.value = "live";
  if (update.event) {
    const { approval } = update.event;
    const before = approvals.value.get(approval.approvalId);
    if (!caughtUp.value && isPending(approval)) asked.add(approval.approvalId);
    keep(approval);
    if (caughtUp.value) tell(before, approval);
  }
  if (update.caughtUp && !caughtUp.value) {
    caughtUp.value = true;
    forgetUnsaid();
  }
}

function forgetUnsaid(): void {
  const next = new Map(approvals.value);
  for (const each of pending.value) if (!asked.has(each.approvalId)) next.delete(each.approvalId);
  approvals.value = next;
}

function tell(before: Approval | undefined, now: Approval): void {
  if (!before && isPending(now)) announce(`New: ${now.title ?? now.approvalId}`);
  else if (before && isPending(before) && !isPending(now)) announce(`${said(now)}: ${now.title ?? now.approvalId}`);
}
