// The frame around every page.
import { pending } from "../state/feed.ts";
import { connection } from "../state/feed.ts";
import { notice, spoken } from "../state/announce.ts";
import { nextTheme, theme } from "../state/look.ts";
import { route, toPending, toRuns } from "../state/route.ts";
import { caller, signedIn, signOut } from "../state/session.ts";
import { helpOpen } from "../keys.ts";
import { delegationsOpen, mayStandFor } from "../state/delegations.ts";
import { Delegations } from "./delegations.tsx";
import { Help } from "./help.tsx";
import { Inbox } from "./inbox.tsx";
import { RunPage } from "./run.tsx";
import { Runs } from "./runs.tsx";
import { SignIn } from "./signin.tsx";
import { Text } from "./text.tsx";

export function App() {
  if (!signedIn.value) return <SignIn />;
  return (
    <>
      <a class="skip-link" href="#main" onClick={toMain}>
        To the content
      </a>
      <Top />
      <main id="main" tabIndex={-1}>
        <Page />
      </main>
      <Notice />
      <Help />
      <Delegations />
      <div class="unseen" role="status" aria-live="polite">
        <Text text={spoken.value} />
      </div>
    </>
  );
}

function toMain(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Page() {
  const here = route.value;
  if (here.page === "runs") return <Runs />;
  if (here.page === "run") return <RunPage key={here.run} id={here.run} step={here.step} />;
  return <Inbox />;
}

function Top() {
  const waiting = pending.value.length;
  document.title = waiting ? `(${waiting}) Interlock` : "Interlock";
  const page = route.value.page;
  return (
    <header class="top">
      <a class="brand" href={toPending()}>
        <img src="/console/icon.svg" alt="" width="24" height="24" />
        <span>Interlock</span>
      </a>
      <nav aria-label="Pages">
        <a href={toPending()} aria-current={page === "pending" ? "page" : undefined}>
          Pending <span class={waiting ? "count some" : "count"}>{waiting}</span>
        </a>
        <a href={toRuns} aria-current={page !== "pending" ? "page" : undefined}>
          Runs
        </a>
      </nav>
      <span class="space" />
      <Connection />
      <button type="button" class="quiet" onClick={nextTheme} aria-label={`Colours: ${theme.value}`} title={`Colours: ${theme.value}`}>
        <span aria-hidden="true">{{ auto: "◐", light: "○", dark: "●" }[theme.value]}</span>
      </button>
      <button type="button" class="quiet wide-only" onClick={() => (helpOpen.value = true)} aria-label="Help" title="Help (?)">
        <span aria-hidden="true">?</span>
      </button>
      <button
        type="button"
        class="quiet who"
        onClick={() => (delegationsOpen.value = true)}
        aria-label={`You are ${caller.value?.subject ?? "signed in"}: who may decide for whom`}
        title="Who may decide for whom"
      >
        <span aria-hidden="true">⇄</span>
        <span class="wide-only">
          <Text text={caller.value?.subject} />
          {mayStandFor.value.length > 0 && <Text text={` +${mayStandFor.value.length}`} />}
        </span>
      </button>
      <button type="button" class="quiet" onClick={() => signOut()} aria-label="Sign out" title="Sign out">
        <span class="wide-only">Sign out</span>
        <Out />
      </button>
    </header>
  );
}

/** A door and an arrow, drawn: few fonts have a sign for it. */
function Out() {
  return (
    <svg class="narrow-only" aria-hidden="true" width="18" height="18" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2">
      <path d="M10 4H5v16h5M9 12h11m-4-4 4 4-4 4" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}

function Connection() {
  const words = { connecting: "Connecting…", live: "Live", lost: "Reconnecting…", refused: "Not allowed" };
  const state = connection.value;
  return (
    <span class={`connection ${state}`} role="status" title="The connection to the feed">
      <span class="dot" aria-hidden="true" />
      <span class={state === "live" ? "wide-only" : ""}>{words[state]}</span>
    </span>
  );
}

function Notice() {
  const said = notice.value;
  if (!said) return null;
  return (
    <div class={said.bad ? "notice bad" : "notice"} role={said.bad ? "alert" : undefined}>
      <Text text={said.text} />
      <button type="button" class="quiet" aria-label="Close" onClick={() => (notice.value = null)}>
        ✕
      </button>
    </div>
  );
}
