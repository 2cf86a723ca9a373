// The command palette: everything that can be gone to or done, by name.

/** One thing that can be chosen. */
export interface Command {
  name: string;
  /** Beside the name, in small. */
  hint?: string;
  run: () => void;
}

class PaletteState {
  isOpen = $state(false);
  /** Whether the keys are shown. */
  keysShown = $state(false);
  /** What the page that is open adds. */
  local = $state.raw<readonly Command[]>([]);

  open(): void {
    this.isOpen = true;
  }

  close(): void {
    this.isOpen = false;
  }

  /** Adds commands while the calling component is there. They may depend on its state. */
  offer(commands: () => readonly Command[]): void {
    $effect(() => {
      const offered = commands();
      this.local = offered;
      return () => {
        // The next page may have offered its own already.
        if (this.local === offered) this.local = [];
      };
    });
  }
}

export const palette = new PaletteState();
