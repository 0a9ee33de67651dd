// How things are shown: light or dark, side by side or unified. Kept in this browser.
import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const kept = (name: string, values: string[]): string => {
  const found = localStorage.getItem(`interlock.${name}`) ?? "";
  return values.includes(found) ? found : (values[0] ?? "");
};

export const theme = signal(kept("theme", ["auto", "light", "dark"]) as Theme);
export const layout = signal(kept("diff", ["unified", "split"]) as "unified" | "split");
export const wrap = signal(kept("wrap", ["wrap", "scroll"]) === "wrap");

const narrow = matchMedia("(max-width: 760px)");
export const isNarrow = signal(narrow.matches);

export function applyLook(): void {
  narrow.addEventListener("change", () => {
    isNarrow.value = narrow.matches;
  });
  effect(() => {
    localStorage.setItem("interlock.theme", theme.value);
    document.documentElement.dataset["theme"] = theme.value;
  });
  effect(() => localStorage.setItem("interlock.diff", layout.value));
  effect(() => localStorage.setItem("interlock.wrap", wrap.value ? "wrap" : "scroll"));
}

export function nextTheme(): void {
  const all: Theme[] = ["auto", "light", "dark"];
  theme.value = all[(all.indexOf(theme.value) + 1) % all.length] ?? "auto";
}
