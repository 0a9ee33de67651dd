// Signing in at the OpenID provider: authorization code with PKCE. What proves that the answer is ours is kept in this tab;
// the gateway exchanges the code, so that this page talks to nobody but its own origin.
import { signal } from "@preact/signals";
import { Problem, unreachable } from "../api/problem.ts";
import { signIn, signedOutBecause } from "./session.ts";

const PATH = "/console/sign-in";
const BACK = "/console/signed-in";
const KEY = "interlock.signing-in";

interface Where {
  authorize?: string;
  client: string;
  scope: string;
  name: string;
}

interface Begun {
  state: string;
  nonce: string;
  verifier: string;
}

/** Where people of a provider sign in; null where there is none. */
export const provider = signal<Where | null>(null);
export const comingBack = signal(false);

/** PKCE needs a digest, which browsers give to pages from https and loopback only. */
export const canSignIn = (): boolean => globalThis.crypto?.subtle !== undefined;

export async function learnProvider(): Promise<void> {
  try {
    const answer = await fetch(PATH, { cache: "no-store", headers: { Accept: "application/json" } });
    const found = answer.ok ? ((await answer.json()) as Where) : null;
    provider.value = found?.authorize ? found : null;
  } catch {
    provider.value = null;
  }
}

export async function goToProvider(): Promise<void> {
  const to = provider.value;
  if (!to?.authorize) return;
  const begun: Begun = { state: random(), nonce: random(), verifier: random() };
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(begun.verifier));
  sessionStorage.setItem(KEY, JSON.stringify(begun));
  const url = new URL(to.authorize);
  const asked = {
    response_type: "code",
    client_id: to.client,
    redirect_uri: location.origin + BACK,
    scope: to.scope,
    state: begun.state,
    nonce: begun.nonce,
    code_challenge: base64url(new Uint8Array(digest)),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
  location.assign(url);
}

/** What the provider sent the browser back with, if it did. */
export async function comeBack(): Promise<void> {
  if (location.pathname !== BACK) return;
  const said = new URLSearchParams(location.search);
  const kept = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  history.replaceState(null, "", "/#/pending");
  comingBack.value = true;
  try {
    signIn(await exchanged(said, kept ? (JSON.parse(kept) as Begun) : null));
  } catch (error) {
    signedOutBecause.value = error instanceof Problem ? error.message : "Signing in failed.";
  } finally {
    comingBack.value = false;
  }
}

async function exchanged(said: URLSearchParams, begun: Begun | null): Promise<string> {
  // Somebody else's answer would sign us in as them.
  if (!begun || said.get("state") !== begun.state) throw refused("This tab asked for no sign-in. Begin again.");
  const code = said.get("code");
  if (!code) throw refused(`The provider refused: ${said.get("error") ?? "it gave no code"}.`);
  const body = { code, verifier: begun.verifier, back: location.origin + BACK };
  const answer = await fetch(PATH, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json" },
    body: JSON.stringify(body),
  }).catch(() => {
    throw unreachable();
  });
  const text = await answer.text();
  if (!answer.ok) throw Problem.parse(answer.status, text);
  const { token } = JSON.parse(text) as { token: string };
  if (nonceOf(token) !== begun.nonce) throw refused("The provider's token is for another sign-in. Begin again.");
  return token;
}

/** Unverified: that it is genuine, the services look at. */
export function nonceOf(token: string): string {
  try {
    const part = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    const nonce: unknown = JSON.parse(new TextDecoder().decode(bytes)).nonce;
    return typeof nonce === "string" ? nonce : "";
  } catch {
    return "";
  }
}

const refused = (detail: string): Problem => new Problem(401, { detail });

const random = (): string => base64url(crypto.getRandomValues(new Uint8Array(32)));

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
