// Files that somebody chose or dropped, folders included, and the one ZIP that they become.
import type { Packing } from "./pack.worker.ts";

/** A file, and where it lies below what was chosen. */
export interface Picked {
  path: string;
  file: File;
}

/** More than these are a folder that was not meant; a plain ZIP could not hold many more. */
export const FILES_MOST = 20_000;

const TOO_MANY = `These are more than ${FILES_MOST.toLocaleString("en")} files: make a ZIP of them first.`;

/** From a field that files are chosen in. */
export function chosen(list: FileList): Picked[] {
  if (list.length > FILES_MOST) throw new Error(TOO_MANY);
  return [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** Whether files are dragged, and not text. */
export function bringsFiles({ dataTransfer }: DragEvent): boolean {
  return dataTransfer?.types.includes("Files") ?? false;
}

/** From what was dropped: files and folders, and files that lie nowhere, such as a mail's. To be called while the drop is handled: later nothing of it is there.
 * @throws Error with words for people */
export async function dropped(transfer: DataTransfer): Promise<Picked[]> {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry() ?? item.getAsFile()).filter((entry) => entry !== null);
  const picked: Picked[] = [];
  // One after another, and no deeper than the list is long: nothing grows without a bound.
  while (entries.length > 0) {
    const entry = entries.shift();
    if (!entry) break;
    if (entry instanceof File) {
      picked.push({ path: entry.name, file: entry });
    } else if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      picked.push({ path: entry.fullPath.replace(/^\//, ""), file });
    } else {
      entries.push(...(await children(entry as FileSystemDirectoryEntry)));
    }
    if (picked.length + entries.length > FILES_MOST) throw new Error(TOO_MANY);
  }
  return picked;
}

/** A directory gives its entries in parts. */
async function children(directory: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = directory.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) return all;
    all.push(...part);
    if (all.length > FILES_MOST) throw new Error(TOO_MANY);
  }
}

/** Without the one folder that all lie in: its content is what a job starts from. */
export function withoutTop(picked: readonly Picked[]): { picked: Picked[]; top: string | null } {
  const top = picked[0]?.path.split("/")[0] ?? "";
  const isShared = picked.length > 0 && picked.every(({ path }) => path.startsWith(`${top}/`));
  if (!isShared) return { picked: [...picked], top: null };
  return { picked: picked.map(({ path, file }) => ({ path: path.slice(top.length + 1), file })), top };
}

/** A path that several files have: only one of them could be unpacked. */
export function shared(picked: readonly Picked[]): string | null {
  const seen = new Set<string>();
  return picked.find(({ path }) => seen.size === seen.add(path).size)?.path ?? null;
}

/** Whether it goes as it is. */
export function isZip(picked: readonly Picked[]): boolean {
  return picked.length === 1 && /\.zip$/i.test(picked[0]?.path ?? "");
}

/** Makes a ZIP of at most `most` bytes.
 * @throws Error with words for people */
export function pack(
  files: readonly Picked[],
  most: number,
  onread: (bytes: number) => void,
  signal: AbortSignal,
): Promise<Blob> {
  const worker = new Worker(new URL("./pack.worker.ts", import.meta.url), { type: "module" });
  const packing = new Promise<Blob>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new DOMException("Stopped.", "AbortError")));
    worker.onerror = () => reject(new Error("The files could not be packed."));
    worker.onmessage = ({ data }: MessageEvent<Packing>) => {
      if ("read" in data) onread(data.read);
      else if ("zip" in data) resolve(data.zip);
      else reject(new Error(data.failed));
    };
    worker.postMessage({ files, most });
  });
  return packing.finally(() => worker.terminate());
}
