// What the gateway says when a call fails (problem details), and what is said when it cannot be reached at all.

interface Details {
  status?: number;
  detail?: string;
  title?: string;
  reason?: string;
  fix?: string;
  metadata?: Record<string, string>;
}

export class Problem extends Error {
  readonly status: number;
  readonly reason: string;
  readonly fix: string;
  readonly metadata: Record<string, string>;

  constructor(status: number, details: Details) {
    super(details.detail ?? details.title ?? `The gateway answered ${status}.`);
    this.status = details.status ?? status;
    this.reason = details.reason ?? "";
    this.fix = details.fix ?? "";
    this.metadata = details.metadata ?? {};
  }

  static parse(status: number, text: string): Problem {
    try {
      return new Problem(status, JSON.parse(text) as Details);
    } catch {
      return new Problem(status, {});
    }
  }
}

export const unreachable = (): Problem =>
  new Problem(0, { detail: "The gateway cannot be reached.", reason: "UNAVAILABLE", fix: "Is `interlock up` running?" });

export const problemOf = (error: unknown): Problem =>
  error instanceof Problem ? error : new Problem(0, { detail: String(error) });
