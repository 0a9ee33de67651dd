// Who has a say: what the policy decided, the stages, and who has approved so far.
import type { Approval, Stage, Vote } from "../api/types.ts";
import { Ago, Section } from "./bits.tsx";
import { Text } from "./text.tsx";

export function Say({ approval }: { approval: Approval }) {
  const stages = approval.stages ?? [];
  const votes = approval.votes ?? [];
  const { excluded = [], escalatedTo = [] } = approval;
  if (!stages.length && !votes.length && !excluded.length) return null;
  return (
    <Section title="Who has to approve">
      <ol class="stages">
        {!stages.length && (
          <li>
            <strong>One</strong> <span class="fine">of everyone who may approve</span>
          </li>
        )}
        {stages.map((stage, i) => (
          <StageLine key={i} stage={stage} number={i + 1} votes={votes.filter((vote) => (vote.stage ?? 1) === i + 1)} />
        ))}
      </ol>
      {excluded.length > 0 && (
        <p class="fine">
          Not by who asked for it: <Text text={excluded.join(", ")} />
        </p>
      )}
      {escalatedTo.length > 0 && (
        <p class="fine">
          It went on to <Text text={escalatedTo.join(", ")} />
        </p>
      )}
    </Section>
  );
}

function StageLine({ stage, number, votes }: { stage: Stage; number: number; votes: Vote[] }) {
  const needed = stage.quorum ?? 1;
  const given = stage.votes ?? 0;
  return (
    <li class={given >= needed ? "done" : ""}>
      <strong>
        <Text text={stage.name || `Stage ${number}`} />
      </strong>{" "}
      <span class="fine">
        {given} of {needed}
        {stage.approvers?.length ? (
          <>
            {" out of "}
            <Text text={stage.approvers.join(", ")} />
          </>
        ) : (
          " of everyone who may approve"
        )}
      </span>
      {votes.map((vote) => (
        <p key={vote.subject} class="vote">
          <span class="good-text">✓</span> <Text text={vote.subject} />{" "}
          <span class="fine">
            {vote.onBehalfOf && <Text text={`for ${vote.onBehalfOf} `} />}
            <Text text={vote.channel} /> <Ago time={vote.at} />
          </span>
          {vote.comment && (
            <blockquote>
              <Text text={vote.comment} block />
            </blockquote>
          )}
        </p>
      ))}
    </li>
  );
}
