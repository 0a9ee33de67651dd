// Letting somebody else decide for a time, and what others have given.
import { useEffect, useState } from "preact/hooks";
import type { Delegation } from "../api/types.ts";
import { busy, delegationsOpen, give, given, loadDelegations, received, revoke, trouble } from "../state/delegations.ts";
import { mayDecide } from "../state/session.ts";
import { Labels, Section, Trouble } from "./bits.tsx";
import { Dialog } from "./dialog.tsx";
import { Text } from "./text.tsx";

const TIMES: [string, number][] = [
  ["8 hours", 8],
  ["a day", 24],
  ["a week", 7 * 24],
  ["two weeks", 14 * 24],
  ["30 days", 30 * 24],
  ["90 days", 90 * 24],
];

export function Delegations() {
  return delegationsOpen.value ? <Open /> : null;
}

function Open() {
  const [to, setTo] = useState("");
  const [hours, setHours] = useState(TIMES[0]?.[1] ?? 8);
  const [note, setNote] = useState("");
  const close = (): void => void (delegationsOpen.value = false);
  useEffect(() => void loadDelegations(), []);
  const submit = async (): Promise<void> => {
    if (await give(to.trim(), hours, note)) {
      setTo("");
      setNote("");
    }
  };
  return (
    <Dialog title="Deciding in each other's place" close={close} submit={() => void (to.trim() && submit())}>
      {received.value.length > 0 && (
        <List title="You may decide for" all={received.value} name={(each) => each.fromSubject} />
      )}
      {given.value.length > 0 && <List title="May decide for you" all={given.value} name={(each) => each.toSubject} mine />}
      {mayDecide.value && (
        <>
          <p class="fine">
            While you are away, somebody else with the role approver can decide for you. Both names are recorded. Neither
            can approve what the other may not.
          </p>
          <label class="field">
            Who
            <input
              data-first
              value={to}
              maxLength={128}
              pattern="[A-Za-z0-9][A-Za-z0-9._@:+\/=\|\-]*"
              required
              spellcheck={false}
              autocapitalize="off"
              onInput={(event) => setTo(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            For
            <select value={hours} onChange={(event) => setHours(Number(event.currentTarget.value))}>
              {TIMES.map(([words, value]) => (
                <option key={value} value={value}>
                  {words}
                </option>
              ))}
            </select>
          </label>
          <label class="field">
            Why (optional)
            <input value={note} maxLength={1000} onInput={(event) => setNote(event.currentTarget.value)} />
          </label>
        </>
      )}
      <Trouble problem={trouble.value} />
      <div class="buttons">
        <button type="button" onClick={close}>
          Close
        </button>
        {mayDecide.value && (
          <button type="submit" class="primary" disabled={busy.value}>
            Let them decide
          </button>
        )}
      </div>
    </Dialog>
  );
}

interface ListProps {
  title: string;
  all: readonly Delegation[];
  name(each: Delegation): string;
  mine?: boolean;
}

function List({ title, all, name, mine = false }: ListProps) {
  return (
    <Section title={title}>
      <ul class="stages">
        {all.map((each) => (
          <li key={each.delegationId} class="done delegation">
            <p>
              <strong>
                <Text text={name(each)} />
              </strong>{" "}
              <span class="fine">until {new Date(each.expiresAt ?? "").toLocaleString()}</span> <Labels labels={each.scope} />
            </p>
            {each.note && (
              <blockquote>
                <Text text={each.note} block />
              </blockquote>
            )}
            {mine && (
              <div class="buttons start">
                <button type="button" disabled={busy.value} onClick={() => void revoke(each.delegationId)}>
                  Take it back
                </button>
              </div>
            )}
          </li>
        ))}
      </ul>
    </Section>
  );
}
