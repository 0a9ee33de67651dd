// Who is signed in. The token comes in the address's fragment, which no server and no log ever sees, or is pasted; it is
// kept for this tab alone.
import { computed, signal } from "@preact/signals";
import type { Caller } from "../api/types.ts";

const KEY = "interlock.token";

export const token = signal("");
export const caller = signal<Caller | null>(null);
export const signedOutBecause = signal("");

/** How this tab came to its token: by a link, which anybody can have made, or another way. */
export const came = signal<"" | "by a link" | "by a link, instead of who was signed in here before">("");

export const signedIn = computed(() => token.value !== "");

const has = (...roles: string[]): boolean =>
  caller.value?.roles?.some((role) => role === "ROLE_ADMIN" || roles.includes(role)) ?? true;

/** Whether the caller may decide; also true while it is not known yet: the services judge. */
export const mayDecide = computed(() => has("ROLE_APPROVER"));
/** Whether the caller may steer runs. */
export const mayOperate = computed(() => has("ROLE_OPERATOR"));

/** Take the token out of the address, or out of what this tab has kept. */
export function restore(): void {
  const given = /^#token=([^&]+)/.exec(location.hash)?.[1];
  if (given) {
    history.replaceState(null, "", `${location.pathname}#/pending`);
    const before = sessionStorage.getItem(KEY);
    signIn(decoded(given));
    came.value = before && before !== token.value ? "by a link, instead of who was signed in here before" : "by a link";
    return;
  }
  token.value = sessionStorage.getItem(KEY) ?? "";
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function signIn(text: string): void {
  sessionStorage.setItem(KEY, text);
  came.value = "";
  signedOutBecause.value = "";
  caller.value = null;
  token.value = text;
}

export function signOut(because = ""): void {
  sessionStorage.removeItem(KEY);
  signedOutBecause.value = because;
  caller.value = null;
  token.value = "";
}
