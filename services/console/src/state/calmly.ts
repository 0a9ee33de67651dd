// Work that is asked for often, and wanted once.

/** Runs `work` now, and once more after it when it was asked for meanwhile; never twice within `millis`. */
export function calmly(work: () => Promise<void>, millis: number): () => void {
  let under = false;
  let again = false;
  const begin = async (): Promise<void> => {
    under = true;
    try {
      await work();
    } finally {
      setTimeout(() => {
        under = false;
        if (again) {
          again = false;
          void begin();
        }
      }, millis);
    }
  };
  return () => {
    if (under) again = true;
    else void begin();
  };
}
