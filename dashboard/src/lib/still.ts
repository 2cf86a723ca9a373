// A picture of a terminal, for as long as what it shows is made anew.
//
// The terminal's own way to draw nothing for a while (mode 2026) does not hold: with each row that it scrolls it refreshes
// the selection, and draws the rows with it; and after a second it draws in any case.
import type { Terminal } from "@xterm/xterm";

/** Keeps the rows that are seen as they are until one lets go: then what the terminal draws next is seen. */
export function still(term: Terminal): () => void {
  // The last is seen: a picture that has not gone yet lies above the terminal's own.
  const rows = [...(term.element?.querySelectorAll(".xterm-rows") ?? [])].at(-1);
  if (!rows) return () => {};
  const picture = rows.cloneNode(true) as HTMLElement;
  Object.assign(picture.style, {
    position: "absolute",
    inset: "0",
    // Above the marks of places, which are at 7.
    zIndex: "8",
    background: term.options.theme?.background ?? "",
  });
  rows.after(picture);
  return () => {
    const drawn = term.onRender(() => {
      drawn.dispose();
      picture.remove();
    });
    term.refresh(0, term.rows - 1);
  };
}
