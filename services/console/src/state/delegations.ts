// Deciding in somebody else's place: who lets whom, and in whose place the next decision is made.
import { computed, signal } from "@preact/signals";
import { at, get, post } from "../api/client.ts";
import { type Problem, problemOf } from "../api/problem.ts";
import type { Delegation } from "../api/types.ts";
import { notify } from "./announce.ts";
import { caller } from "./session.ts";

export const delegations = signal<readonly Delegation[]>([]);
export const trouble = signal<Problem | null>(null);
export const delegationsOpen = signal(false);
export const busy = signal(false);

/** In whose place the open step is decided; empty for the caller's own. */
export const standsFor = signal("");

const inForce = (each: Delegation): boolean => !each.revokedAt && Date.parse(each.expiresAt ?? "") > Date.now();

const me = computed(() => caller.value?.subject ?? "");
export const given = computed(() => delegations.value.filter((each) => each.fromSubject === me.value && inForce(each)));
export const received = computed(() => delegations.value.filter((each) => each.toSubject === me.value && inForce(each)));
/** Those in whose place the caller may decide. */
export const mayStandFor = computed(() => [...new Set(received.value.map((each) => each.fromSubject))].sort());

export async function loadDelegations(): Promise<void> {
  if (!me.value) return;
  try {
    const found = await get<{ delegations?: Delegation[] }>(`/v1/delegations?subject=${encodeURIComponent(me.value)}`);
    delegations.value = found.delegations ?? [];
    trouble.value = null;
  } catch (error) {
    trouble.value = problemOf(error);
  }
}

async function change(work: () => Promise<unknown>, done: string): Promise<boolean> {
  busy.value = true;
  try {
    await work();
    notify(done);
    await loadDelegations();
    return true;
  } catch (error) {
    trouble.value = problemOf(error);
    return false;
  } finally {
    busy.value = false;
  }
}

export const give = (toSubject: string, hours: number, note: string): Promise<boolean> =>
  change(
    () => post("/v1/delegations", { toSubject, lifetime: `${Math.round(hours * 3600)}s`, note }),
    "Given. They choose your name when they decide.",
  );

export const revoke = (id: string): Promise<boolean> =>
  change(() => post(at`/v1/delegations/${id}:revoke`, { requestId: undefined }), "Taken back."); // has no request id: twice is once
