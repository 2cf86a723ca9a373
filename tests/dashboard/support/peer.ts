// Somebody who speaks the protocol by hand: asks, and hears what comes of it.
import WebSocket from "ws";

// Frames are read as somebody would who has only read the document.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Data = Record<string, any>;

export class Peer {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { resolve(data: Data): void; reject(error: Error): void }>();
  readonly #listeners = new Set<(type: string, data: Data) => void>();
  #lastId = 0;

  private constructor(
    socket: WebSocket,
    /** What it signed in with. */
    readonly token: string,
  ) {
    this.#socket = socket;
    socket.on("message", (text) => this.#heard(JSON.parse(String(text))));
    socket.on("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the connection was closed"));
    });
    // What is wrong is said by whoever waits.
    socket.on("error", () => {});
  }

  /** Signed in with a token. */
  static async connect(origin: string, token: string): Promise<Peer> {
    const peer = new Peer(new WebSocket(`${origin.replace("http", "ws")}/ws`), token);
    await new Promise((resolve, reject) => peer.#socket.once("open", resolve).once("error", reject));
    await peer.ask("auth", { opt: "login", token });
    return peer;
  }

  /** Asks, and waits for the answer. An error is thrown. */
  ask(type: string, data: Data): Promise<Data> {
    const id = ++this.#lastId;
    this.#socket.send(JSON.stringify({ type, id, data }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** A new job's id; a command is a shell script. */
  async submit(command: string, more: Data = {}): Promise<string> {
    const { jobId } = await this.ask("job", {
      opt: "submit",
      command,
      follow: false,
      ...more,
    });
    return jobId;
  }

  /** Waits for the end of a job, and returns all that it wrote. */
  async output(jobId: string): Promise<string> {
    const text: string[] = [];
    let listener: ((type: string, data: Data) => void) | undefined;
    const ended = new Promise<void>((resolve) => {
      listener = (type, data) => {
        if (type !== "job" || data.jobId !== jobId) return;
        if (data.opt === "output") text.push(data.text ?? Buffer.from(data.base64, "base64").toString());
        if (data.opt === "end") resolve();
      };
      this.#listeners.add(listener);
    });
    await this.ask("job", { opt: "follow", jobId, after: "0" });
    await ended;
    if (listener) this.#listeners.delete(listener);
    return text.join("");
  }

  close(): void {
    this.#socket.close();
  }

  #heard({ type, id, data }: { type: string; id?: number; data: Data }): void {
    if (type === "ping") return this.#socket.send(JSON.stringify({ type: "pong" }));
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (id === undefined || !waiting) {
      for (const listener of this.#listeners) listener(type, data);
      return;
    }
    this.#waiting.delete(id);
    if (type === "error") waiting.reject(new Error(`${data.code}: ${data.message}`));
    else waiting.resolve(data);
  }
}
