// What somebody has chosen about how the page looks, kept on this device.

export type Theme = "system" | "light" | "dark";

const KEY = "gangline.settings";

interface Chosen {
  theme: Theme;
  wrap: boolean;
  timestamps: boolean;
  screenReader: boolean;
  /** Whether single keys do something outside of fields. */
  keys: boolean;
}

function load(): Chosen {
  const chosen: Chosen = { theme: "system", wrap: true, timestamps: false, screenReader: false, keys: true };
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { ...chosen, ...(kept as Partial<Chosen>) };
  } catch {
    return chosen;
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");

class Settings {
  chosen = $state<Chosen>(load());
  #systemDark = $state(system.matches);

  constructor() {
    system.addEventListener("change", ({ matches }) => (this.#systemDark = matches));
  }

  get dark(): boolean {
    return this.chosen.theme === "system" ? this.#systemDark : this.chosen.theme === "dark";
  }

  set(change: Partial<Chosen>): void {
    Object.assign(this.chosen, change);
    localStorage.setItem(KEY, JSON.stringify(this.chosen));
  }
}

export const settings = new Settings();
