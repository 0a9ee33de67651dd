// Where in the console we are: the address's fragment, so that reload, back and links work.
import { signal } from "@preact/signals";

export type Route =
  | { page: "pending"; approval: string }
  | { page: "runs" }
  | { page: "run"; run: string; step: number };

export const route = signal<Route>({ page: "pending", approval: "" });

export function parse(hash: string): Route {
  const [page, id, more] = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (page === "runs" && id) return { page: "run", run: id, step: Number(/^step-(\d{1,6})$/.exec(more ?? "")?.[1] ?? 0) };
  if (page === "runs") return { page: "runs" };
  return { page: "pending", approval: page === "pending" ? (id ?? "") : "" };
}

export const toPending = (approval = ""): string => `#/pending${approval && `/${encodeURIComponent(approval)}`}`;
export const toRuns = "#/runs";
export const toRun = (run: string, step = 0): string => `#/runs/${encodeURIComponent(run)}${step ? `/step-${step}` : ""}`;

export function go(hash: string, replace = false): void {
  if (location.hash === hash) return;
  if (replace) {
    history.replaceState(null, "", hash);
    read();
  } else location.hash = hash;
}

function read(): void {
  try {
    route.value = parse(location.hash);
  } catch {
    route.value = { page: "pending", approval: "" };
  }
}

export function listen(): void {
  addEventListener("hashchange", read);
  read();
}
