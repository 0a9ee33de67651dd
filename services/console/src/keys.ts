// The keyboard: one letter each, never while something is typed or a dialog is open.
import { signal } from "@preact/signals";
import * as inbox from "./state/inbox.ts";
import { layout } from "./state/look.ts";
import { go, route, toPending, toRuns } from "./state/route.ts";
import { signedIn } from "./state/session.ts";

export const KEYS: [string, string][] = [
  ["j", "next step"],
  ["k", "previous step"],
  ["a", "approve what is shown"],
  ["r", "reject, with a comment"],
  ["m", "approve, and more like it"],
  ["e", "edit the step"],
  ["s", "skip the step"],
  ["d", "diff: side by side, or unified"],
  ["/", "search"],
  ["p", "pending steps"],
  ["g", "runs"],
  ["Esc", "close, or back to the list"],
  ["?", "this help"],
];

export const helpOpen = signal(false);

/** What a key does where we are; the view of the open approval says what `a`, `r`, `e` and `s` do. */
export const actions = signal<Readonly<Record<string, () => void>>>({});

const everywhere: Record<string, () => void> = {
  p: () => go(toPending()),
  g: () => go(toRuns),
  d: () => {
    layout.value = layout.value === "split" ? "unified" : "split";
  },
  "/": () => document.querySelector<HTMLInputElement>("input[type=search]")?.focus(),
  "?": () => {
    helpOpen.value = true;
  },
};

const ofPage: Record<string, Record<string, () => void>> = {
  pending: {
    j: () => inbox.step(1),
    k: () => inbox.step(-1),
    Escape: () => go(toPending()),
  },
  runs: { j: () => focusNext(1), k: () => focusNext(-1) },
  run: { j: () => focusNext(1), k: () => focusNext(-1), Escape: () => go(toRuns) },
};

/** Move the focus along the list. */
function focusNext(by: number): void {
  const items = [...document.querySelectorAll<HTMLElement>("[data-item]")];
  const here = items.indexOf(document.activeElement as HTMLElement);
  items[Math.min(items.length - 1, Math.max(0, here + by))]?.focus();
}

const typing = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && !!target.closest("input, textarea, select, [contenteditable]");

function pressed(event: KeyboardEvent): void {
  if (!signedIn.value || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (typing(event.target)) {
    if (event.key === "Escape") (event.target as HTMLElement).blur();
    return;
  }
  const action = actions.value[event.key] ?? ofPage[route.value.page]?.[event.key] ?? everywhere[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

export function listenToKeys(): void {
  addEventListener("keydown", pressed);
}
