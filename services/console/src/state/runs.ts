// The list of runs: newest first, a page at a time, asked for again when something has happened.
import { computed, effect, signal } from "@preact/signals";
import { get } from "../api/client.ts";
import { type Problem, problemOf } from "../api/problem.ts";
import type { Run } from "../api/types.ts";
import { matches } from "../text/search.ts";
import { calmly } from "./calmly.ts";
import { pulse } from "./feed.ts";

const PAGE = 50;
const AGAIN_MILLIS = 5_000;

export const runs = signal<Run[] | null>(null);
export const more = signal("");
export const problem = signal<Problem | null>(null);
export const search = signal("");
export const state = signal("");

const hay = (run: Run): string[] => [
  run.goal ?? "",
  run.runId,
  run.workspaceId ?? "",
  run.createdBy ?? "",
  ...Object.entries(run.labels ?? {}).map(([name, value]) => `${name}=${value}`),
];

export const shown = computed(() => (runs.value ?? []).filter((run) => matches(search.value, hay(run))));

const path = (size: number, token = ""): string => {
  const query = new URLSearchParams({ page_size: String(size) });
  if (state.value) query.set("states", state.value);
  if (token) query.set("page_token", token);
  return `/v1/runs?${query}`;
};

type Page = { runs?: Run[]; nextPageToken?: string };

export async function refresh(): Promise<void> {
  const asked = state.value;
  try {
    const size = Math.min(1000, Math.max(PAGE, runs.value?.length ?? 0));
    const page = await get<Page>(path(size));
    if (asked !== state.value) return;
    runs.value = page.runs ?? [];
    more.value = page.nextPageToken ?? "";
    problem.value = null;
  } catch (error) {
    problem.value = problemOf(error);
  }
}

export async function loadMore(): Promise<void> {
  try {
    const page = await get<Page>(path(PAGE, more.value));
    runs.value = [...(runs.value ?? []), ...(page.runs ?? [])];
    more.value = page.nextPageToken ?? "";
  } catch (error) {
    problem.value = problemOf(error);
  }
}

const refreshCalmly = calmly(refresh, 500);

/** Keep the list fresh while it is looked at. */
export function watch(): () => void {
  const timer = setInterval(() => {
    if (!document.hidden) void refresh();
  }, AGAIN_MILLIS);
  const done = effect(() => {
    void pulse.value;
    refreshCalmly();
  });
  const chosen = effect(() => {
    void state.value;
    void refresh();
  });
  return () => {
    clearInterval(timer);
    done();
    chosen();
  };
}
