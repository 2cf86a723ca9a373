// A private container engine with an image made of this machine's busybox. It takes root and docker.io, as `make setup` has it.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./server";

/** The image that there is; its programs are busybox's. */
export const IMAGE = "busybox:1.35";

const PATH = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;

// Ends with this process, because its input is closed then. It touches nothing of the machine's own: a bridge that is no other
// engine's, and no rules of the firewall. The bridge is given an address, because by itself it takes that of one of its containers, another
// one whenever such a container comes or goes.
const ENGINE = `trap : INT TERM
  number=$(($$ % 4096)); tries=64; dir=$0
  until bridge=glpage$number; address=$(printf 02:67:6c:01:%02x:%02x $((number / 256)) $((number % 256)))
    ip link add "$bridge" address "$address" type bridge
  do [ $((tries -= 1)) -gt 0 ] || exit; number=$(((number + 1) % 4096)); done
  ip address add "10.$((224 + number / 256)).$((number % 256)).1/24" dev "$bridge"
  ip link set "$bridge" up
  dockerd --host "unix://$dir/docker.sock" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \\
    --bridge "$bridge" --iptables=false --ip6tables=false --shutdown-timeout 2 >"$dir/log" 2>&1 &
  cat >/dev/null
  docker --host "unix://$dir/docker.sock" ps -aq | xargs -r docker --host "unix://$dir/docker.sock" rm -f >/dev/null
  kill $!; wait $!
  grep " $dir/" /proc/mounts | cut -d' ' -f2 | xargs -r umount -l
  ip link delete "$bridge"`;

const IMPORT = `set -e; root=$0/root
  mkdir -p "$root/bin" "$root/tmp" "$root/etc" "$root/dev" "$root/proc" "$root/sys"
  cp -L "$(command -v busybox)" "$root/bin/busybox"
  for applet in $(busybox --list | grep -vx busybox); do ln -s busybox "$root/bin/$applet"; done
  tar -C "$root" -c . | docker --host "$1" import -c 'CMD ["sh"]' - "$2"`;

export class Engine {
  readonly #dir: string;
  readonly #leash: ChildProcess;

  private constructor(dir: string) {
    this.#dir = dir;
    this.#leash = spawn("sh", ["-c", ENGINE, dir], {
      env: { ...process.env, PATH },
      stdio: ["pipe", "ignore", "ignore"],
    });
  }

  /** One that answers and has its image. */
  static async start(): Promise<Engine> {
    const engine = new Engine(mkdtempSync(join(tmpdir(), "gangline-engine-")));
    try {
      await eventually("a container engine", async () => engine.#run("docker", ["--host", engine.address, "version"]));
      if (!engine.#run("sh", ["-c", IMPORT, engine.#dir, engine.address, IMAGE]))
        throw new Error("no image could be made");
      return engine;
    } catch (error) {
      const log = engine.#words();
      await engine.end();
      throw new Error(
        `no container engine could be started: is docker.io installed (make setup), and is this root? ${log}`,
        {
          cause: error,
        },
      );
    }
  }

  get address(): string {
    return `unix://${this.#dir}/docker.sock`;
  }

  async end(): Promise<void> {
    const ended = once(this.#leash, "exit");
    this.#leash.stdin?.end();
    await ended;
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #words(): string {
    const log = join(this.#dir, "log");
    return existsSync(log) ? readFileSync(log, "utf8").slice(-1000) : "";
  }

  #run(program: string, args: string[]): boolean {
    return (
      spawnSync(program, args, {
        env: { ...process.env, PATH },
        stdio: "ignore",
      }).status === 0
    );
  }
}
