// A step in the timeline. Its details are loaded when it is opened, and again when it has changed.
import { useEffect, useRef, useState } from "preact/hooks";
import { at, get } from "../api/client.ts";
import { type Problem, problemOf } from "../api/problem.ts";
import type { Approval, ModelCall, Run, Step } from "../api/types.ts";
import { changes, live } from "../state/run.ts";
import { toPending } from "../state/route.ts";
import { about, duration, gateName, kindOf, money, said, seconds, stepState, tokens } from "../text/words.ts";
import { Ago, Fact, Id, Kind, Section, State, Trouble } from "./bits.tsx";
import { Effect } from "./effect.tsx";
import { Streaming } from "./output.tsx";
import { Rulings } from "./ruling.tsx";
import { Say } from "./say.tsx";
import { Spec, Words } from "./spec.tsx";
import { StepActions } from "./steering.tsx";
import { Code, Text } from "./text.tsx";

const BUSY = new Set(["STEP_STATE_PREPARING", "STEP_STATE_APPLYING"]);

export function StepLine({ step, run, first }: { step: Step; run: Run; first: boolean }) {
  const [open, setOpen] = useState(first);
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    if (first) details.current?.scrollIntoView({ block: "start" });
  }, [first]);
  const state = stepState(step.state);
  return (
    <li class={`step ${state.replaceAll(" ", "-")}`}>
      <details ref={details} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary data-item>
          <span class="step-number">{step.number}</span>
          <Kind kind={kindOf(step.spec)} />
          <span class="step-title clip">
            <Code text={about(step.spec)} />
          </span>
          <Short step={step} />
          <State state={step.undone ? "undone" : state} />
        </summary>
        {open && <Details step={step} run={run} />}
      </details>
    </li>
  );
}

function took(step: Step): string {
  if (!step.startedAt || !step.endedAt) return "";
  const all = (Date.parse(step.endedAt) - Date.parse(step.startedAt)) / 1000;
  return duration(Math.max(0, all - seconds(step.waited)));
}

function Short({ step }: { step: Step }) {
  const { exitCode } = step.effect ?? {};
  const paths = Number(step.effect?.changesTotal ?? 0);
  const facts = [
    step.inherited && "inherited",
    (step.attempt ?? 0) > 1 && `attempt ${step.attempt}`,
    exitCode !== undefined && `exit ${exitCode}`,
    paths > 0 && `${paths} ${paths === 1 ? "path" : "paths"}`,
    money(step.cost),
    took(step),
  ].filter(Boolean);
  return <span class="fine step-facts">{facts.join(" · ")}</span>;
}

function useDetails(step: Step): { whole: Step; approval: Approval | null; problem: Problem | null } {
  const [whole, setWhole] = useState(step);
  const [approval, setApproval] = useState<Approval | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const version = changes.value.get(step.number);
  useEffect(() => {
    let gone = false;
    const load = async (): Promise<void> => {
      try {
        const answer = await get<{ step: Step }>(at`/v1/runs/${step.runId}/steps/${step.number}`);
        if (gone) return;
        setWhole(answer.step);
        setProblem(null);
        const id = answer.step.approvalId;
        const asked = id ? await get<{ approval: Approval }>(at`/v1/approvals/${id}`) : null;
        if (!gone) setApproval(asked?.approval ?? null);
      } catch (error) {
        if (!gone) setProblem(problemOf(error));
      }
    };
    void load();
    return () => {
      gone = true;
    };
  }, [step.runId, step.number, version]);
  return { whole, approval, problem };
}

function Details({ step, run }: { step: Step; run: Run }) {
  const { whole, approval, problem } = useDetails(step);
  const flowing = live.value?.step === step.number && BUSY.has(step.state) ? live.value : null;
  return (
    <div class="step-details">
      <Trouble problem={problem} />
      {step.state === "STEP_STATE_AWAITING_APPROVAL" && step.approvalId && (
        <p>
          <a class="button primary" href={toPending(step.approvalId)}>
            Decide about this step
          </a>
        </p>
      )}
      {whole.failure && (
        <div class="banner bad">
          <p>
            <strong>{whole.failure.reason}</strong> <Text text={whole.failure.message} />
          </p>
          {whole.failure.fix && (
            <p>
              <Text text={whole.failure.fix} />
            </p>
          )}
        </div>
      )}
      <dl class="facts">
        {step.startedAt && (
          <Fact name="Started">
            <Ago time={step.startedAt} />
          </Fact>
        )}
        <Fact name="Gate">{gateName(step.gate)}</Fact>
        {step.envelopeId && (
          <Fact name="Approved in advance">
            by <Text text={step.envelopeGrantedBy} />
          </Fact>
        )}
        {approval && (
          <Fact name="Decision">
            {said(approval)} {approval.decision?.comment && <Text text={`“${approval.decision.comment}”`} />}
          </Fact>
        )}
        {step.headTree && (
          <Fact name="Snapshot after it">
            <Id id={step.headTree} />
          </Fact>
        )}
        {step.undone && (
          <Fact name="Undone">
            by {step.undone.by} <Ago time={step.undone.at} />
          </Fact>
        )}
      </dl>
      <StepActions step={step} run={run} />
      <Rulings rulings={whole.rulings ?? []} />
      {approval && <Say approval={approval} />}
      <Spec spec={step.spec} argv={whole.effect?.argv} />
      {flowing && <Streaming live={flowing} />}
      <Effect effect={whole.effect} spec={step.spec} />
      {whole.reply && <Words title="Reply" text={whole.reply} />}
      <Calls calls={whole.modelCalls ?? []} />
    </div>
  );
}

function Calls({ calls }: { calls: ModelCall[] }) {
  if (!calls.length) return null;
  return (
    <Section title="Model calls">
      <ul class="changes">
        {calls.map((call, i) => (
          <li key={i}>
            <Text text={call.purpose} /> <Code text={`${call.gateway ?? ""}/${call.model ?? ""}`} />{" "}
            <span class="fine">
              {[tokens(call.cost), money(call.cost), call.latency && duration(seconds(call.latency))].filter(Boolean).join(" · ")}
            </span>
          </li>
        ))}
      </ul>
    </Section>
  );
}
