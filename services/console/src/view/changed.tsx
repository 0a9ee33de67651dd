// What is different from the preview that was approved before: the part that its reader has not seen.
import type { ChangedSince as Changed, Difference } from "../api/types.ts";
import { toPending } from "../state/route.ts";
import { Diff } from "./diff.tsx";
import { Code, Text } from "./text.tsx";

export function ChangedSince({ of }: { of: Changed | undefined }) {
  if (!of) return null;
  return (
    <section class="changed-since" aria-label="What is new">
      <h3>This preview replaces an earlier one</h3>
      <p>
        The workspace changed before it was used{of.paths?.length ? ", in " : ""}
        {of.paths?.map((path, i) => (
          <span key={path}>
            {i > 0 && ", "}
            <Code text={path} />
          </span>
        ))}
        . {of.approvalId && <a href={toPending(of.approvalId)}>The earlier one</a>}
      </p>
      {of.unavailable && (
        <p class="warning">
          The two could not be compared; read the whole. <Text text={of.unavailable} />
        </p>
      )}
      {of.differs?.length && <p>Also different: {of.differs.join(", ").replaceAll("_", " ")}.</p>}
      <Part title="What others did" of={of.workspace} />
      <Part title="What the step does there now" of={of.effect} />
      <Part title="What it no longer does" of={of.dropped} />
    </section>
  );
}

function Part({ title, of }: { title: string; of: Difference | undefined }) {
  if (!of?.diff && !of?.changes?.length) return null;
  return (
    <>
      <h4>{title}</h4>
      <Diff of={of} />
    </>
  );
}
