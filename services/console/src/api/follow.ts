// A stream that goes on by itself: after a lost connection, a restart of the gateway or of a service, from the last
// cursor. EventSource cannot send a token, so the stream is read with fetch.
import { signOut } from "../state/session.ts";
import { headers } from "./client.ts";
import { type Frame, FrameReader } from "./frames.ts";
import { Problem, unreachable } from "./problem.ts";

export interface Follower<T> {
  message(message: T): void;
  /** What was told is not connected to what comes: begin again from nothing. */
  reset?(): void;
  /** The connection is there. */
  live?(): void;
  /** The connection is lost; it is being made again. */
  lost?(problem: Problem): void;
  /** Everything was said. */
  end?(): void;
  /** It can never be read: no such run, not allowed. */
  refused?(problem: Problem): void;
}

// The gateway says something every 15 seconds at the latest.
const SILENCE_MILLIS = 40_000;
const FIRST_PAUSE_MILLIS = 250;
const LONGEST_PAUSE_MILLIS = 4_000;
const CURSOR_GONE = new Set(["CURSOR_EXPIRED", "CURSOR_INVALID"]);
const LASTING = new Set([400, 401, 403, 404, 405, 421]);

class Ended extends Error {}

/** Follow a stream until `stop` is called. */
export function follow<T>(path: string, follower: Follower<T>): { stop(): void } {
  const following = new Following(path, follower as Follower<unknown>);
  void following.run();
  return { stop: () => following.stop() };
}

class Following {
  private cursor = "";
  private stopped = false;
  private pauseMillis = FIRST_PAUSE_MILLIS;
  private abort = new AbortController();
  private readonly path: string;
  private readonly follower: Follower<unknown>;

  constructor(path: string, follower: Follower<unknown>) {
    this.path = path;
    this.follower = follower;
  }

  stop(): void {
    this.stopped = true;
    this.abort.abort();
  }

  async run(): Promise<void> {
    while (!this.stopped) {
      try {
        await this.once();
        throw unreachable();
      } catch (error) {
        if (this.stopped) return;
        if (error instanceof Ended) return this.follower.end?.();
        const problem = error instanceof Problem ? error : unreachable();
        if (this.given(problem)) return;
        await this.pause();
      }
    }
  }

  /** Whether there is no use in trying again. */
  private given(problem: Problem): boolean {
    if (CURSOR_GONE.has(problem.reason)) {
      this.cursor = "";
      this.follower.reset?.();
      return false;
    }
    if (problem.status === 401) signOut(problem.message);
    if (LASTING.has(problem.status)) {
      this.follower.refused?.(problem);
      return true;
    }
    this.follower.lost?.(problem);
    return false;
  }

  private async once(): Promise<void> {
    this.abort = new AbortController();
    const silence = new Silence(() => this.abort.abort());
    try {
      const more: Record<string, string> = { Accept: "text/event-stream" };
      if (this.cursor) more["Last-Event-ID"] = this.cursor;
      const init = { headers: headers(more), cache: "no-store" as const, signal: this.abort.signal };
      const answer = await fetch(this.path, init);
      if (answer.status === 204) throw new Ended();
      if (!answer.ok || !answer.body) throw Problem.parse(answer.status, await answer.text());
      this.follower.live?.();
      await this.read(answer.body, silence);
    } finally {
      silence.over();
    }
  }

  private async read(body: ReadableStream<Uint8Array>, silence: Silence): Promise<void> {
    const frames = new FrameReader();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      silence.broken();
      for (const frame of frames.push(decoder.decode(value, { stream: true }))) this.take(frame);
    }
  }

  private take(frame: Frame): void {
    if (frame.event === "end") throw new Ended();
    if (frame.event === "error") throw Problem.parse(503, frame.data);
    this.pauseMillis = FIRST_PAUSE_MILLIS;
    this.follower.message(JSON.parse(frame.data));
    if (frame.id) this.cursor = frame.id;
  }

  private async pause(): Promise<void> {
    const millis = this.pauseMillis;
    this.pauseMillis = Math.min(millis * 2, LONGEST_PAUSE_MILLIS);
    await new Promise((done) => setTimeout(done, millis));
  }
}

class Silence {
  private timer = 0;
  private readonly tooLong: () => void;

  constructor(tooLong: () => void) {
    this.tooLong = tooLong;
    this.broken();
  }

  broken(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(this.tooLong, SILENCE_MILLIS);
  }

  over(): void {
    clearTimeout(this.timer);
  }
}
