// Copying: the one way to it, for all that is copied with a button.
//
// A page that came without TLS from another machine has no clipboard of its own; the command that copies what is selected is
// there everywhere. Nothing is said to be copied that was not.

/** Copies text; whether it is in the clipboard. Where it is not, what shows it is selected, for people to copy it by key. */
export async function copy(text: string, shown?: Element): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // There is none, or it is refused.
  }
  if (shown) select(shown);
  let isPut = false;
  const put = (event: ClipboardEvent) => {
    // The text as it is, and not as it looks.
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    isPut = event.clipboardData !== null;
  };
  document.addEventListener("copy", put);
  const isDone = document.execCommand("copy") && isPut;
  document.removeEventListener("copy", put);
  if (isDone && shown) getSelection()?.removeAllRanges();
  return isDone;
}

/** Selects what an element shows. */
export function select(element: Element): void {
  getSelection()?.selectAllChildren(element);
}
