// The output of the step that is under way, as far as it is kept here: its last part.
import type { OutputChunk } from "../api/types.ts";
import { bytesOf } from "../text/bytes.ts";

const KEPT_CHARS = 512 * 1024;

interface Part {
  text: string;
  next: number;
  decoder: TextDecoder;
}

export class Live {
  readonly step: number;
  readonly attempt: number;
  readonly parts: ReadonlyMap<string, Part>;

  private constructor(step: number, attempt: number, parts: ReadonlyMap<string, Part>) {
    this.step = step;
    this.attempt = attempt;
    this.parts = parts;
  }

  /** With one more chunk. What is sent again after a reconnect is left out, by its place in the stream. */
  static after(before: Live | null, chunk: OutputChunk): Live {
    const attempt = chunk.attempt ?? 0;
    const same = before && before.step === chunk.step && before.attempt === attempt;
    const parts = new Map(same ? before.parts : []);
    const part = parts.get(chunk.stream) ?? { text: "", next: 0, decoder: new TextDecoder() };
    const data = bytesOf(chunk.data ?? "");
    const offset = Number(chunk.offset ?? 0);
    const news = data.subarray(Math.max(0, part.next - offset));
    const text = (part.text + part.decoder.decode(news, { stream: true })).slice(-KEPT_CHARS);
    parts.set(chunk.stream, { text, next: Math.max(part.next, offset + data.length), decoder: part.decoder });
    return new Live(chunk.step, attempt, parts);
  }
}
