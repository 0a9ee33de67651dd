// What was asked of a step.
import type { RunCommand, StepSpec } from "../api/types.ts";
import { duration, seconds } from "../text/words.ts";
import { Fact, Section } from "./bits.tsx";
import { Code, Text } from "./text.tsx";

const SHORT = 90;

interface Props {
  spec: StepSpec | undefined;
  argv?: string[] | undefined;
  /** Whether the title above says the command, so that a short one need not be said again. */
  titled?: boolean;
}

export function Spec({ spec, argv, titled = false }: Props) {
  const input = spec?.input;
  if (!input) return null;
  const asking = input.analyze ?? input.summarize;
  return (
    <>
      {input.runCommand && <Command command={input.runCommand} argv={argv} titled={titled} />}
      {input.editFile?.instruction && <Words title="Instruction" text={input.editFile.instruction} />}
      {input.readFile && (
        <Section title="File">
          <Code text={input.readFile.path} />
          {input.readFile.startLine && ` lines ${input.readFile.startLine} to ${input.readFile.endLine ?? "the end"}`}
        </Section>
      )}
      {asking?.instruction && <Words title="Instruction" text={asking.instruction} />}
    </>
  );
}

export function Words({ title, text }: { title: string; text: string }) {
  return (
    <Section title={title}>
      <p class="words">
        <Text text={text} block />
      </p>
    </Section>
  );
}

function Command({ command, argv, titled }: { command: RunCommand; argv: string[] | undefined; titled: boolean }) {
  const items = command.argv?.items ?? argv;
  const said = titled && command.command !== undefined && command.command.length <= SHORT && !command.command.includes("\n");
  return (
    <Section title={said ? "" : "Command"}>
      {said ? null : command.command !== undefined ? (
        <pre class="command" tabIndex={0} aria-label="Command" dir="ltr">
          <Text text={command.command} block />
        </pre>
      ) : (
        <ol class="argv" aria-label="Arguments">
          {(items ?? []).map((item, i) => (
            <li key={i}>
              <Code text={item} />
            </li>
          ))}
        </ol>
      )}
      <Circumstances command={command} />
    </Section>
  );
}

function Circumstances({ command }: { command: RunCommand }) {
  const env = Object.entries(command.env ?? {});
  return (
      <dl class="facts">
        {command.workingDir && (
          <Fact name="In">
            <Code text={command.workingDir} />
          </Fact>
        )}
        {command.timeout && <Fact name="Time limit">{duration(seconds(command.timeout))}</Fact>}
        {command.network?.length && (
          <Fact name="Network">
            {command.network.map((host) => (
              <Code key={host} class="label" text={host} />
            ))}
          </Fact>
        )}
        {env.length > 0 && (
          <Fact name="Environment">
            {env.map(([name, value]) => (
              <Code key={name} class="label" text={`${name}=${value}`} />
            ))}
          </Fact>
        )}
        {command.secrets?.length && (
          <Fact name="Secrets">
            {command.secrets.map((secret) => (
              <Code key={secret.appearsAs} class="label" text={`${secret.name} as ${secret.appearsAs}`} />
            ))}
          </Fact>
        )}
        {command.allowedExitCodes?.length && <Fact name="Exit codes that count as success">{command.allowedExitCodes.join(", ")}</Fact>}
      </dl>
  );
}
