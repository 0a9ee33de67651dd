// What the rules in force said about a step.
import type { Ruling } from "../api/types.ts";
import { Section } from "./bits.tsx";
import { Code, Text } from "./text.tsx";

const WORDS: Record<string, [string, string]> = {
  POLICY_VERDICT_DENY: ["denied", "bad"],
  POLICY_VERDICT_REQUIRE: ["somebody has to approve", "wait"],
  POLICY_VERDICT_ALLOW: ["allowed: nobody is asked", "good"],
  POLICY_VERDICT_DEFAULT: ["no rule is about it", "idle"],
};

export function Rulings({ rulings }: { rulings: (Ruling | undefined)[] }) {
  const all = rulings.filter((each) => each !== undefined);
  if (!all.length) return null;
  return (
    <Section title="Policy">
      {all.map((ruling, i) => (
        <One key={i} ruling={ruling} />
      ))}
    </Section>
  );
}

function One({ ruling }: { ruling: Ruling }) {
  const [words, tone] = WORDS[ruling.verdict ?? ""] ?? ["unknown", "idle"];
  const names = (ruling.policies ?? []).map((policy) => [policy.name, policy.version].filter(Boolean).join(" "));
  return (
    <div class="ruling">
      <p>
        <span class={`state ${tone}`}>{words}</span>{" "}
        <span class="fine">
          {ruling.observed ? "by what it did" : "by what it asks for"}
          {names.length > 0 && <Text text={` · ${names.join(", ")}`} />}
          {ruling.always && " · whatever was approved in advance"}
        </span>
      </p>
      <ul class="changes">
        {(ruling.rules ?? []).map((hit, i) => (
          <li key={i}>
            <Code class="label" text={hit.rule} />{" "}
            <span class="fine">
              {(hit.effect ?? "").replace("RULE_EFFECT_", "").toLowerCase()} <Text text={hit.policy && `(${hit.policy})`} />
            </span>{" "}
            <Text text={hit.reason} />
            {hit.problem && (
              <span class="bad-text">
                {" "}
                It could not be evaluated: <Text text={hit.problem} />
              </span>
            )}
          </li>
        ))}
      </ul>
    </div>
  );
}
