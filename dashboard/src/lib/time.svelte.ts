// Times as people read them. One clock for the whole page ticks them on.
import { link } from "./link.svelte.ts";

class Ticker {
  /** The server's time, renewed every second. */
  now = $state(Date.now());

  constructor() {
    setInterval(() => (this.now = link.now()), 1000);
  }
}

export const ticker = new Ticker();

/** Up to when something is known: its time goes on for as long as that is now, and then stands still. */
export class Until {
  #isNow = $state(false);
  #last = 0;

  get isNow(): boolean {
    return this.#isNow;
  }

  set isNow(isNow: boolean) {
    if (this.#isNow && !isNow) this.#last = link.now();
    this.#isNow = isNow;
  }

  /** In milliseconds of the server's clock. */
  get time(): number {
    return this.#isNow ? ticker.now : this.#last;
  }
}

const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** "3 min. ago". */
export function ago(time: number, now: number): string {
  const seconds = Math.round((time - now) / 1000);
  if (Math.abs(seconds) < 5) return "now";
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return relative.format(Math.trunc(seconds / size), unit);
}

/** Date and time to the second, in this device's time zone. */
export function exactTime(time: number): string {
  return exact.format(time);
}

/** "14:03:07.042", in this device's time zone. */
export function clockTime(time: number): string {
  const date = new Date(time);
  const two = (n: number) => String(n).padStart(2, "0");
  const millis = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${millis}`;
}

/** "1 h 4 min", from milliseconds. */
export function duration(millis: number): string {
  const seconds = Math.max(0, millis) / 1000;
  if (seconds < 1) return `${Math.round(millis)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
