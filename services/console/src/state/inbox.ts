// Which of the pending steps is looked at: the filter, the selection, and the preview as it was loaded.
import { batch, computed, effect, signal } from "@preact/signals";
import { at, get } from "../api/client.ts";
import { type Problem, problemOf } from "../api/problem.ts";
import type { Approval } from "../api/types.ts";
import { matches } from "../text/search.ts";
import { kindOf } from "../text/words.ts";
import { approvals, isPending, keep, pending } from "./feed.ts";
import { go, route, toPending } from "./route.ts";

export const search = signal("");
export const kind = signal("");

const hay = (each: Approval): string[] => [
  each.title ?? "",
  each.goal ?? "",
  each.runId,
  each.approvalId,
  each.workspaceId ?? "",
  ...Object.entries({ ...each.labels, ...each.workspaceLabels }).map(([name, value]) => `${name}=${value}`),
];

export const shown = computed(() =>
  pending.value.filter(
    (each) => (!kind.value || kindOf(each.spec) === kind.value) && matches(search.value, hay(each)),
  ),
);

export const selected = computed(() => (route.value.page === "pending" ? route.value.approval : ""));

/** The approval that is open, with the preview its reader sees. Its digest is what a decision is about. */
export const open = signal<Approval | null>(null);
export const loading = signal(false);
export const problem = signal<Problem | null>(null);

/** What is known of the open one now; its preview stays what was shown. */
export const current = computed<Approval | null>(() => {
  if (!open.value) return null;
  const now = approvals.value.get(open.value.approvalId);
  return now ? { ...now, digest: open.value.digest, ...(open.value.preview && { preview: open.value.preview }) } : open.value;
});

/** Whether the question is now about something else than what is shown. */
export const stale = computed(() => {
  const now = open.value && approvals.value.get(open.value.approvalId);
  return !!now && now.digest !== open.value?.digest;
});

export async function load(id: string): Promise<void> {
  loading.value = true;
  problem.value = null;
  try {
    const { approval } = await get<{ approval: Approval }>(at`/v1/approvals/${id}`);
    if (selected.value !== id) return;
    batch(() => {
      open.value = approval;
      keep(approval);
    });
  } catch (error) {
    if (selected.value === id) problem.value = problemOf(error);
  } finally {
    if (selected.value === id) loading.value = false;
  }
}

/** Open what the address names; where it names nothing, the oldest, on a screen that has room for both. */
export function followSelection(): () => void {
  return effect(() => {
    const id = selected.value;
    if (id === (open.peek()?.approvalId ?? "")) return;
    open.value = null;
    problem.value = null;
    if (id) void load(id);
  });
}

export function step(by: number): void {
  const list = shown.value;
  if (!list.length) return;
  const here = list.findIndex((each) => each.approvalId === selected.value);
  const next = here < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, here + by));
  go(toPending(list[next]?.approvalId ?? ""));
}

/** Go to the next that is pending, after this one was decided; to the list when there is none. */
export function advance(from: string, place: number): void {
  if (selected.value !== from) return;
  const rest = shown.value.filter((each) => each.approvalId !== from && isPending(each));
  go(toPending(rest[Math.min(place, rest.length - 1)]?.approvalId ?? ""));
}

export const placeOf = (id: string): number => Math.max(0, shown.value.findIndex((each) => each.approvalId === id));
