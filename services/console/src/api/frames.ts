// Server-sent events out of a response's text, as the HTML standard reads them.

export interface Frame {
  id: string;
  event: string;
  data: string;
}

export class FrameReader {
  private rest = "";
  private frame: Frame = { id: "", event: "message", data: "" };

  /** The frames that are complete after this piece of text. */
  push(text: string): Frame[] {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.line(line));
  }

  private line(line: string): Frame[] {
    if (line === "") return this.complete();
    const colon = line.indexOf(":");
    if (colon <= 0) return [];
    const value = line.slice(colon + 1).replace(/^ /, "");
    switch (line.slice(0, colon)) {
      case "id":
        this.frame.id = value;
        break;
      case "event":
        this.frame.event = value;
        break;
      case "data":
        this.frame.data += this.frame.data ? `\n${value}` : value;
    }
    return [];
  }

  private complete(): Frame[] {
    const done = this.frame;
    this.frame = { id: done.id, event: "message", data: "" };
    return done.data ? [done] : [];
  }
}
