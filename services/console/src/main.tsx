// The console: who is signed in sees what is pending, and decides.
import { effect } from "@preact/signals";
import { render } from "preact";
import { get } from "./api/client.ts";
import type { Caller } from "./api/types.ts";
import { listenToKeys } from "./keys.ts";
import * as feed from "./state/feed.ts";
import { followSelection } from "./state/inbox.ts";
import { applyLook } from "./state/look.ts";
import { listen } from "./state/route.ts";
import { caller, restore, token } from "./state/session.ts";
import { App } from "./view/app.tsx";

async function learnCaller(): Promise<void> {
  const asked = token.value;
  try {
    const answer = await get<{ caller: Caller }>("/v1/whoami");
    if (asked === token.value) caller.value = answer.caller;
  } catch {
    // A token that is not accepted has signed us out; for everything else the feed says what is wrong.
  }
}

restore();
applyLook();
listen();
followSelection();
listenToKeys();
effect(() => {
  if (!token.value) return feed.stop();
  feed.start();
  void learnCaller();
});
// A link with a token, opened while the page is there already.
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) restore();
});

const root = document.getElementById("app");
if (root) render(<App />, root);
