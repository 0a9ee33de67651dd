// What came of a step: the changes, the outputs, what it used.
import type { Approval, Effect as EffectMessage, NetworkAttempt } from "../api/types.ts";
import { size } from "../text/bytes.ts";
import { duration, seconds } from "../text/words.ts";
import { Fact, Id, Section } from "./bits.tsx";
import { Diff, DiffLook } from "./diff.tsx";
import { Kept } from "./output.tsx";
import { Code, Text } from "./text.tsx";

interface Props {
  effect: EffectMessage | undefined;
  gate?: string | undefined;
  /** Bounds that it runs within. */
  limits?: Approval["limits"];
  /** What was asked: which exit codes count as success. */
  spec?: Approval["spec"];
}

export function Effect({ effect, gate, limits, spec }: Props) {
  if (!effect) return null;
  const paths = Number(effect.changesTotal ?? 0);
  return (
    <>
      <Facts effect={effect} gate={gate} limits={limits} spec={spec} />
      {(paths > 0 || effect.diff) && (
        <Section title={paths === 1 ? "1 path changes" : `${paths} paths change`} aside={<DiffLook />}>
          <Diff of={effect} />
        </Section>
      )}
      <Kept name="standard output" output={effect.stdout} />
      <Kept name="standard error" output={effect.stderr} />
      <Kept name="content" output={effect.content} />
      <Network effect={effect} />
    </>
  );
}

function ended(effect: EffectMessage, spec: Approval["spec"]): { text: string; good: boolean } | null {
  if (effect.signal) return { text: `ended by signal ${effect.signal}`, good: false };
  const code = effect.exitCode;
  const fine = [0, ...(spec?.input?.runCommand?.allowedExitCodes ?? [])];
  if (code !== undefined) return { text: String(code), good: fine.includes(code) };
  return null;
}

function within(limits: NonNullable<Approval["limits"]>): string {
  const { wall, memoryBytes, processes, writtenBytes } = limits;
  return [
    wall && duration(seconds(wall)),
    memoryBytes && `${size(memoryBytes)} of memory`,
    processes && `${processes} processes`,
    writtenBytes && `${size(writtenBytes)} written`,
  ]
    .filter(Boolean)
    .join(", ");
}

function Facts({ effect, gate, limits, spec }: Props & { effect: EffectMessage }) {
  const end = ended(effect, spec);
  const { wall, user, system, maxRssBytes } = effect.usage ?? {};
  const unrun = gate === "GATE_COMMAND";
  return (
    <dl class="facts strip">
      {unrun && <Fact name="Has run">not yet</Fact>}
      {end && (
        <Fact name="Exit code">
          <span class={end.good ? "good-text" : "bad-text"}>{end.text}</span>
        </Fact>
      )}
      {wall && <Fact name="Took">{duration(seconds(wall))}</Fact>}
      {(user || system) && <Fact name="Processor">{duration(seconds(user) + seconds(system))}</Fact>}
      {Number(maxRssBytes ?? 0) > 0 && <Fact name="Memory">{size(maxRssBytes)}</Fact>}
      {effect.sandbox?.backend && effect.sandbox.backend !== "none" && (
        <Fact name="Sandbox">
          {effect.sandbox.backend}
          {effect.sandbox.enforcement && `, ${effect.sandbox.enforcement}`}
        </Fact>
      )}
      {unrun && limits && within(limits) && <Fact name="Within">{within(limits)}</Fact>}
      {effect.baseTree && (
        <Fact name="Snapshot">
          <Id id={effect.baseTree} />
          {effect.resultTree && effect.resultTree !== effect.baseTree && (
            <>
              {" → "}
              <Id id={effect.resultTree} />
            </>
          )}
        </Fact>
      )}
    </dl>
  );
}

function Network({ effect }: { effect: EffectMessage }) {
  const report = effect.network;
  if (!report) return null;
  const attempts = report.attempts ?? [];
  return (
    <Section title={`Network: ${report.attemptsTotal ?? attempts.length} connections, ${report.refusedTotal ?? 0} refused`}>
      {report.problem && (
        <p class="warning">
          <Text text={report.problem} />
        </p>
      )}
      <ul class="changes">
        {attempts.map((attempt, i) => (
          <Attempt key={i} attempt={attempt} />
        ))}
      </ul>
    </Section>
  );
}

function Attempt({ attempt }: { attempt: NetworkAttempt }) {
  return (
    <li>
      <span class={`change ${attempt.allowed ? "added" : "deleted"}`}>{attempt.allowed ? "connected" : "refused"}</span>{" "}
      <Code text={`${attempt.host}:${attempt.port ?? ""}`} />{" "}
      <span class="fine">
        <Text text={attempt.detail ?? attempt.reason} /> {size(attempt.sentBytes)} sent, {size(attempt.receivedBytes)} received
      </span>
    </li>
  );
}
