// Files that are saved on this device, fetched with the token.
import { session } from "./session.svelte.ts";

/** Larger ones are written to the disk as they come, where the browser can. */
const BIG = 16 * 1024 * 1024;

interface Picker {
  showSaveFilePicker?: (options: { suggestedName: string }) => Promise<{
    createWritable(): Promise<WritableStream<Uint8Array>>;
  }>;
}

/** Saves what a path of the dispatcher answers, of about so many bytes, as a file of this name.
 * @throws Refusal */
export async function save(path: string, name: string, bytes: number): Promise<void> {
  const pick = (window as Picker).showSaveFilePicker;
  if (bytes > BIG && pick) {
    let file;
    try {
      file = await pick.call(window, { suggestedName: name });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      throw error;
    }
    const response = await session.fetch(path);
    await response.body?.pipeTo(await file.createWritable());
    return;
  }
  const url = URL.createObjectURL(await (await session.fetch(path)).blob());
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  // Not before the browser has begun to save it.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
