import { helpOpen, KEYS } from "../keys.ts";
import { Dialog } from "./dialog.tsx";

export function Help() {
  if (!helpOpen.value) return null;
  const close = (): void => {
    helpOpen.value = false;
  };
  return (
    <Dialog title="Keyboard" close={close} submit={close}>
      <dl class="keys">
        {KEYS.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <p class="fine">A decision is about exactly the preview that is shown. If it has changed meanwhile, it is refused.</p>
      <p class="fine">
        <a href="/console/licenses.txt">Licences of what this page is made of</a>
      </p>
      <div class="buttons">
        <button type="submit" class="primary" data-first>
          Close
        </button>
      </div>
    </Dialog>
  );
}
