// What is said in passing, at the bottom of the page.
import { copy } from "./copy.ts";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
  /** What is to be copied by hand. */
  quoted?: string;
}

/** More at once would be in the way. */
const MOST = 4;
const GOOD_MS = 4000;
const BAD_MS = 10_000;

class Toasts {
  shown = $state<Toast[]>([]);
  #last = 0;

  say(text: string): void {
    this.#add(text, false);
  }

  /** What went wrong, in the words of whoever refused it. */
  fail(error: unknown): void {
    this.#add(error instanceof Error ? error.message : String(error), true);
  }

  /** Does something, says how it went; whether it did go well. */
  async during(act: () => Promise<unknown>, done?: string): Promise<boolean> {
    try {
      await act();
      if (done) this.say(done);
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  /** Copies, and says so; where the browser does not let it, the text is shown selected. */
  async copy(text: string, done: string): Promise<void> {
    if (await copy(text)) this.say(done);
    else this.#add("The browser did not let this page copy it. It is selected: press Ctrl C.", true, text);
  }

  dismiss(id: number): void {
    this.shown = this.shown.filter((toast) => toast.id !== id);
  }

  #add(text: string, bad: boolean, quoted?: string): void {
    const id = ++this.#last;
    this.shown = [...this.shown, { id, text, bad, ...(quoted !== undefined && { quoted }) }].slice(-MOST);
    setTimeout(() => this.dismiss(id), bad ? BAD_MS : GOOD_MS);
  }
}

export const toasts = new Toasts();
