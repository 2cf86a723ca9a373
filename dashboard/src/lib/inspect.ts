// Frames for people: which of them are looked at, how they are laid out, and what may be typed.
import type { TypedFrame } from "./link.svelte.ts";
import type { Passed } from "./traffic.svelte.ts";

export interface Sieve {
  /** Only those that were sent, or received. */
  way: "sent" | "received" | null;
  type: string | null;
  text: string;
}

/** The frames that are looked for, newest first. */
export function sifted(frames: readonly Passed[], { way, type, text }: Sieve): Passed[] {
  const wanted = text.trim().toLowerCase();
  return frames
    .filter((frame) => way === null || frame.sent === (way === "sent"))
    .filter((frame) => type === null || frame.type === type)
    .filter((frame) => wanted === "" || frame.text.toLowerCase().includes(wanted))
    .reverse();
}

/** Longer ones are laid out no further: nobody reads them. */
const LAID_OUT_MOST = 256 * 1024;

/** JSON over several lines; what is none as it is. */
export function laidOut(text: string): string {
  try {
    const pretty = JSON.stringify(JSON.parse(text), null, 2);
    return pretty.length > LAID_OUT_MOST ? `${pretty.slice(0, LAID_OUT_MOST)}\n…` : pretty;
  } catch {
    return text;
  }
}

/** A frame that was typed.
 * @throws Error with words for people */
export function typedFrame(text: string): TypedFrame {
  const frame: unknown = JSON.parse(text);
  if (typeof frame !== "object" || frame === null || Array.isArray(frame)) throw new Error("A frame is a JSON object.");
  const { type, id } = frame as Partial<Record<keyof TypedFrame, unknown>>;
  if (typeof type !== "string") throw new Error(`A frame has a type, such as {"type":"ping"}.`);
  const isNamed = id === undefined || typeof id === "string" || typeof id === "number";
  if (!isNamed) throw new Error("An id is a string or a number.");
  return frame as TypedFrame;
}
