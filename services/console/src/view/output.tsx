// What a program wrote.
import { useEffect, useRef } from "preact/hooks";
import type { Output } from "../api/types.ts";
import type { Live } from "../state/live.ts";
import { size, textOf } from "../text/bytes.ts";
import { Ansi } from "./text.tsx";

export function Kept({ name, output }: { name: string; output: Output | undefined }) {
  if (!Number(output?.totalBytes ?? 0)) return null;
  const head = textOf(output?.head);
  const tail = textOf(output?.tail);
  return (
    <figure class="output">
      <figcaption>
        {name} <span class="fine">{size(output?.totalBytes)}</span>
      </figcaption>
      <pre tabIndex={0} aria-label={name} dir="ltr">
        <Ansi text={head} />
        {output?.truncated && <span class="gap">{"\n… not all of it was kept …\n"}</span>}
        {tail && <Ansi text={tail} />}
      </pre>
    </figure>
  );
}

const NAMES: Record<string, string> = {
  OUTPUT_STREAM_STDOUT: "standard output",
  OUTPUT_STREAM_STDERR: "standard error",
  OUTPUT_STREAM_REPLY: "reply",
};

/** The output of a step while it runs. */
export function Streaming({ live }: { live: Live }) {
  return (
    <>
      {[...live.parts].map(([stream, part]) => (
        <figure key={stream} class="output live">
          <figcaption>
            {NAMES[stream] ?? "output"} <span class="fine">live</span>
          </figcaption>
          <Scrolled text={part.text} name={NAMES[stream] ?? "output"} />
        </figure>
      ))}
    </>
  );
}

/** Stays at its end while more comes, unless somebody has scrolled up to read. */
function Scrolled({ text, name }: { text: string; name: string }) {
  const pre = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  useEffect(() => {
    if (pre.current && atEnd.current) pre.current.scrollTop = pre.current.scrollHeight;
  }, [text]);
  const scrolled = (): void => {
    const here = pre.current;
    if (here) atEnd.current = here.scrollHeight - here.scrollTop - here.clientHeight < 40;
  };
  return (
    <pre ref={pre} tabIndex={0} aria-label={name} onScroll={scrolled} dir="ltr">
      <Ansi text={text} />
    </pre>
  );
}
