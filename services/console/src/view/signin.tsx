import { useEffect } from "preact/hooks";
import { signedOutBecause, signIn } from "../state/session.ts";
import { canSignIn, comingBack, goToProvider, learnProvider, provider } from "../state/signin.ts";
import { Text } from "./text.tsx";

export function SignIn() {
  useEffect(() => void learnProvider(), []);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const text = String(new FormData(event.target as HTMLFormElement).get("token") ?? "").trim();
    if (text) signIn(text);
  };
  return (
    <main class="signin">
      <form onSubmit={submit} class="panel">
        <img src="/console/icon.svg" alt="" width="44" height="44" />
        <h1>Interlock</h1>
        {comingBack.value && <p role="status">Signing in…</p>}
        <Provided />
        <p>
          Run <code>interlock console</code> for a link that signs you in, or paste a token.
        </p>
        {signedOutBecause.value && (
          <p class="problem" role="alert">
            <Text text={signedOutBecause.value} />
          </p>
        )}
        <label for="token">Token</label>
        <input id="token" name="token" type="password" autocomplete="off" spellcheck={false} required autofocus />
        <button type="submit" class="primary">
          Sign in
        </button>
        <p class="fine">The token stays in this tab. It is never part of an address that is sent.</p>
      </form>
    </main>
  );
}

/** The way in for people of an OpenID provider, where the gateway names one. */
function Provided() {
  const at = provider.value;
  if (!at) return null;
  if (!canSignIn()) {
    return (
      <p class="fine">
        Signing in with <Text text={at.name} /> takes https.
      </p>
    );
  }
  return (
    <button type="button" class="primary" onClick={() => void goToProvider()}>
      Sign in with <Text text={at.name} />
    </button>
  );
}
