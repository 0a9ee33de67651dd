// Editing a step's input. What comes of it is prepared anew, and asked about again.
import { useState } from "preact/hooks";
import type { Approval, RunCommand, StepInput } from "../api/types.ts";
import { notify } from "../state/announce.ts";
import { decide, sending } from "../state/deciding.ts";
import { Buttons, Dialog } from "./dialog.tsx";

interface Field {
  name: string;
  value: string;
  rows: number;
  set(input: StepInput, value: string): StepInput;
}

/** The fields that a person can change; everything else of the input stays as it is. */
export function fieldsOf(input: StepInput): Field[] {
  const { runCommand, editFile, readFile, analyze, summarize } = input;
  if (runCommand?.command !== undefined)
    return [field("Command", runCommand.command, 4, (value) => ({ runCommand: { ...runCommand, command: value } })), inFolder(input)];
  if (runCommand?.argv) return [ofArguments(runCommand, runCommand.argv.items), inFolder(input)];
  if (editFile) {
    const how = (["newContent", "patch", "instruction"] as const).find((name) => editFile[name] !== undefined) ?? "newContent";
    const names = { newContent: "Content", patch: "Patch", instruction: "Instruction" };
    return [
      { ...field("Path", editFile.path, 1, () => ({})), set: (now, path) => ({ editFile: { ...now.editFile, path } }) },
      { ...field(names[how], editFile[how] ?? "", 14, () => ({})), set: (now, value) => ({ editFile: { path: "", ...now.editFile, [how]: value } }) },
    ];
  }
  if (readFile) return [field("Path", readFile.path, 1, (path) => ({ readFile: { ...readFile, path } }))];
  if (analyze) return [field("Instruction", analyze.instruction ?? "", 6, (value) => ({ analyze: { ...analyze, instruction: value } }))];
  if (summarize) return [field("Instruction", summarize.instruction ?? "", 6, (value) => ({ summarize: { ...summarize, instruction: value } }))];
  return [];
}

/** One a line, or as JSON where an argument has lines of its own. */
function ofArguments(command: RunCommand, items: string[]): Field {
  const asJson = items.some((item) => item.includes("\n"));
  const read = (text: string): string[] => (asJson ? (JSON.parse(text) as string[]) : text.split("\n"));
  const text = asJson ? JSON.stringify(items, null, 1) : items.join("\n");
  const name = asJson ? "Arguments, as JSON" : "Arguments, one a line";
  return field(name, text, 6, (value) => ({ runCommand: { ...command, argv: { items: read(value) } } }));
}

function field(name: string, value: string, rows: number, input: (value: string) => StepInput): Field {
  return { name, value, rows, set: (_, text) => input(text) };
}

function inFolder(input: StepInput): Field {
  return {
    ...field("Working directory", input.runCommand?.workingDir ?? "", 1, () => ({})),
    set: (now, workingDir) => ({ runCommand: { ...now.runCommand, workingDir } }),
  };
}

interface Props {
  approval: Approval;
  comment: string;
  close(): void;
}

export function EditDialog({ approval, comment, close }: Props) {
  const before = approval.spec?.input ?? {};
  const fields = fieldsOf(before);
  const [values, setValues] = useState(fields.map((each) => each.value));
  const [text, setText] = useState(comment);
  const submit = async (): Promise<void> => {
    let input = before;
    try {
      input = fields.reduce((now, each, i) => each.set(now, values[i] ?? ""), before);
    } catch (error) {
      return notify(String(error), true);
    }
    if (await decide(approval, { edit: { input } }, text)) close();
  };
  const change = (i: number, value: string): void => setValues(values.map((each, at) => (at === i ? value : each)));
  return (
    <Dialog title="Edit this step" wide close={close} submit={() => void submit()}>
      <p class="fine">The edited step is prepared anew and asks again, with your name on it. Nothing of this one takes effect.</p>
      {fields.map((each, i) => (
        <label key={each.name} class="field">
          {each.name}
          {each.rows === 1 ? (
            <input class="mono" value={values[i]} spellcheck={false} onInput={(event) => change(i, event.currentTarget.value)} />
          ) : (
            <textarea
              class="mono"
              rows={each.rows}
              spellcheck={false}
              value={values[i]}
              data-first={i === 0 || each.rows > 1 ? "" : undefined}
              onInput={(event) => change(i, event.currentTarget.value)}
            />
          )}
        </label>
      ))}
      <label class="field">
        Comment
        <input maxLength={10000} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
      <Buttons close={close}>
        <button type="submit" class="primary" disabled={sending.value}>
          Edit and ask again
        </button>
      </Buttons>
    </Dialog>
  );
}
