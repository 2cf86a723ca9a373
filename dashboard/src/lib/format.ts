// Numbers as people read them.

const PREFIXES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const whole = new Intl.NumberFormat("en");

/** "1.5 GiB". */
export function bytes(n: number): string {
  let value = n;
  let step = 0;
  while (Math.abs(value) >= 1024 && step < PREFIXES.length - 1) {
    value /= 1024;
    step++;
  }
  const digits = step === 0 || Math.abs(value) >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${PREFIXES[step]}`;
}

/** "1.5 MiB/s". */
export function rate(n: number): string {
  return `${bytes(n)}/s`;
}

/** "12,345". */
export function count(n: number): string {
  return whole.format(n);
}

/** "37 %", from a share of one. */
export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** One word quoted for a POSIX shell, where it needs it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** What a job runs, on one line. */
export function commandLine(job: { command?: string | null; args?: string[] | null; image?: string | null }): string {
  if (job.command) return job.command;
  if (job.args) return job.args.map(shellWord).join(" ");
  return job.image ? `(${job.image})` : "";
}
