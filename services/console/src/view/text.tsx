// Text from elsewhere. Nothing in the console shows such text but through these.
import type { ComponentChildren } from "preact";
import { runs } from "../text/ansi.ts";
import { pieces } from "../text/visible.ts";

/** Text with every hidden character shown by its number. */
export function Text({ text, block = false }: { text: string | undefined; block?: boolean }) {
  return (
    <>
      {pieces(text ?? "", block).map((piece, i) =>
        typeof piece === "string" ? piece : (
          <span key={i} class="hidden-char" title={piece.name}>
            {piece.mark}
          </span>
        ),
      )}
    </>
  );
}

/** The same, isolated in its direction, as code. */
export function Code({ text, class: more = "" }: { text: string | undefined; class?: string }) {
  return (
    <code class={more} dir="ltr">
      <Text text={text} />
    </code>
  );
}

/** A program's output: colours are kept, everything else that acts on a terminal is shown. */
export function Ansi({ text }: { text: string }) {
  return (
    <>
      {runs(text.replaceAll("\r\n", "\n")).map((run, i) =>
        run.style ? (
          <span key={i} class={`ansi ${run.style}`}>
            <Text text={run.text} block />
          </span>
        ) : (
          <Text key={i} text={run.text} block />
        ),
      )}
    </>
  );
}

/** What screen readers are told and nobody sees. */
export function Unseen({ children }: { children: ComponentChildren }) {
  return <span class="unseen">{children}</span>;
}
