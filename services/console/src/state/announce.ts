// What screen readers say aloud, and what a short notice at the edge of the page shows.
import { signal } from "@preact/signals";

export const spoken = signal("");
export const notice = signal<{ text: string; bad: boolean } | null>(null);

const NOTICE_MILLIS = 6_000;
let timer = 0;

export function announce(text: string): void {
  spoken.value = text;
}

export function notify(text: string, bad = false): void {
  announce(text);
  notice.value = { text, bad };
  clearTimeout(timer);
  timer = window.setTimeout(() => {
    notice.value = null;
  }, NOTICE_MILLIS);
}
