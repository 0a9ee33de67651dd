// A question above the page. The browser's own dialog keeps the focus inside; at the end it goes back to where it was.
import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

interface Props {
  title: string;
  close(): void;
  submit?(): void;
  children: ComponentChildren;
  wide?: boolean;
}

export function Dialog({ title, close, submit, children, wide = false }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const name = useId();
  useLayoutEffect(() => {
    const here = dialog.current;
    const before = document.activeElement;
    here?.showModal();
    here?.querySelector<HTMLElement>("[data-first]")?.focus();
    return () => {
      here?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const submitted = (event: SubmitEvent): void => {
    event.preventDefault();
    submit?.();
  };
  const keys = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit?.();
    }
  };
  return (
    <dialog
      ref={dialog}
      class={wide ? "wide" : ""}
      aria-labelledby={name}
      onKeyDown={keys}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
    >
      <form onSubmit={submitted}>
        <h2 id={name}>{title}</h2>
        {children}
      </form>
    </dialog>
  );
}

export function Buttons({ close, children }: { close(): void; children: ComponentChildren }) {
  return (
    <div class="buttons">
      <button type="button" onClick={close}>
        Cancel
      </button>
      {children}
    </div>
  );
}
