// Calls of the gateway. Every call carries the token; nothing else identifies the caller, so no other page can call.
import { signOut, token } from "../state/session.ts";
import { Problem, unreachable } from "./problem.ts";

const ATTEMPTS = 3;
const PAUSE_MILLIS = 400;

export const headers = (more: Record<string, string> = {}): Record<string, string> => ({
  Authorization: `Bearer ${token.value}`,
  ...more,
});

const pause = (millis: number): Promise<void> => new Promise((done) => setTimeout(done, millis));

async function send(method: string, path: string, body: unknown): Promise<Response> {
  const init: RequestInit = { method, headers: headers({ Accept: "application/json" }), cache: "no-store" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = headers({ Accept: "application/json", "Content-Type": "application/json" });
  }
  // Repeating is safe: reads change nothing, and every mutation carries a requestId.
  for (let attempt = 1; ; attempt++) {
    try {
      return await fetch(path, init);
    } catch {
      if (attempt === ATTEMPTS) throw unreachable();
      await pause(PAUSE_MILLIS * attempt);
    }
  }
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await send(method, path, body);
  const text = await answer.text();
  if (answer.ok) return JSON.parse(text) as T;
  const problem = Problem.parse(answer.status, text);
  if (answer.status === 401) signOut(problem.message);
  throw problem;
}

export const get = <T>(path: string): Promise<T> => call<T>("GET", path);
export const post = <T>(path: string, body: object): Promise<T> =>
  call<T>("POST", path, { requestId: requestId(), ...body });

// Also where the page is not a secure context, which crypto.randomUUID asks for.
export function requestId(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `console-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export const at = (strings: TemplateStringsArray, ...values: (string | number)[]): string =>
  String.raw({ raw: strings }, ...values.map((value) => encodeURIComponent(value)));
