// The console: who is signed in sees what is pending, and decides.
import { effect } from "@preact/signals";
import { render } from "preact";
import { get } from "./api/client.ts";
import type { Caller } from "./api/types.ts";
import { listenToKeys } from "./keys.ts";
import { loadDelegations } from "./state/delegations.ts";
import { notify } from "./state/announce.ts";
import { plain } from "./text/visible.ts";
import * as feed from "./state/feed.ts";
import { followSelection } from "./state/inbox.ts";
import { applyLook } from "./state/look.ts";
import { listen } from "./state/route.ts";
import { caller, came, restore, token } from "./state/session.ts";
import { comeBack } from "./state/signin.ts";
import { App } from "./view/app.tsx";

async function learnCaller(): Promise<void> {
  const asked = token.value;
  try {
    const answer = await get<{ caller: Caller }>("/v1/whoami");
    if (asked !== token.value) return;
    caller.value = answer.caller;
    // A page of somebody else may have led here, to have us decide in its maker's name.
    if (came.value) notify(`You are signed in as ${plain(answer.caller.subject)}, ${came.value}.`, came.value.includes("instead"));
    came.value = "";
    await loadDelegations();
  } catch {
    // A token that is not accepted has signed us out; for everything else the feed says what is wrong.
  }
}

restore();
void comeBack();
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
