// Made by `make dashboard-types` from the Rust types; a test fails where it is stale. Not to be edited.

export type Frame = ToServer | ToClient | ToWorker | ToPlugin;
export type ToServer =
  | {
      data: ClientHello;
      id?: string | number;
      type: "hello";
    }
  | {
      data: AuthRequest;
      id?: string | number;
      type: "auth";
    }
  | {
      data: JobRequest;
      id?: string | number;
      type: "job";
    }
  | {
      data: WorkerRequest;
      id?: string | number;
      type: "worker";
    }
  | {
      data: ContainerRequest;
      id?: string | number;
      type: "container";
    }
  | {
      data: AgentJobReport;
      id?: string | number;
      type: "job";
    }
  | {
      data: AgentReport;
      id?: string | number;
      type: "worker";
    }
  | {
      data: AgentContainerReport;
      id?: string | number;
      type: "container";
    }
  | {
      data: PluginReport;
      id?: string | number;
      type: "plugin";
    }
  | {
      data: PluginRequest;
      id?: string | number;
      type: "plugin";
    }
  | {
      data: Login;
      id?: string | number;
      type: "auth";
    }
  | {
      type: "ping" | "pong";
    };
/**
 * Client to dispatcher. `login` is what a frame without `opt` means.
 */
export type AuthRequest =
  | (Login & {
      opt: "login";
    })
  | (UserAdd & {
      opt: "userAdd";
    })
  | (Nothing & {
      opt: "userList";
    })
  | (NamedUser & {
      opt: "userRemove";
    })
  | (UserPassword & {
      opt: "userPassword";
    })
  | (UserRole & {
      opt: "userRole";
    })
  | (PasswordChange & {
      opt: "passwordChange";
    })
  | (SessionList & {
      opt: "sessionList";
    })
  | (SessionEnd & {
      opt: "sessionEnd";
    })
  | (TokenCreate & {
      opt: "tokenCreate";
    })
  | (Nothing & {
      opt: "tokenList";
    })
  | (TokenRevoke & {
      opt: "tokenRevoke";
    })
  | (AuditQuery & {
      opt: "audit";
    });
/**
 * What an account or token may do.
 */
export type Role = "user" | "admin" | "worker" | "plugin";
/**
 * Client to dispatcher.
 */
export type JobRequest =
  | (Submit & {
      opt: "submit";
    })
  | (Follow & {
      opt: "follow";
    })
  | (Named & {
      opt: "unfollow";
    })
  | (Named & {
      opt: "get";
    })
  | (List & {
      opt: "list";
    })
  | (Nothing & {
      opt: "counts";
    })
  | (Read & {
      opt: "read";
    })
  | (Nothing & {
      opt: "templates";
    })
  | (Nothing & {
      opt: "watch";
    })
  | (Nothing & {
      opt: "unwatch";
    })
  | (Input & {
      opt: "input";
    })
  | (Resize & {
      opt: "resize";
    })
  | (Cancel & {
      opt: "cancel";
    });
export type ContainerId = string;
/**
 * What happens to a job whose worker is lost.
 */
export type OnLost = "fail" | "requeue";
export type WorkerId = string;
/**
 * A port to make reachable: a number, "host:container" or an object.
 */
export type Port =
  | number
  | string
  | {
      container: number;
      host?: number | null;
      protocol?: "tcp" | "udp";
    };
/**
 * When a container is started again by itself.
 */
export type Restart = "no" | "on-failure" | "always" | "unless-stopped";
/**
 * `tty`: `true`, `false` or a size.
 */
export type Tty =
  | boolean
  | {
      /**
       * Columns.
       */
      cols: number;
      /**
       * Rows.
       */
      rows: number;
    };
export type After = string | number;
/**
 * A job id, or its short number.
 */
export type JobRef = string | number;
/**
 * Where a job stands.
 */
export type Status = "pending" | "running" | "completed" | "failed" | "cancelled";
export type Before = string;
/**
 * Client to dispatcher.
 */
export type WorkerRequest =
  | (ListWorkers & {
      opt: "list";
    })
  | (NamedWorker & {
      opt: "get";
    })
  | (NamedWorker & {
      opt: "history";
    })
  | (Nothing & {
      opt: "watch";
    })
  | (Nothing & {
      opt: "unwatch";
    })
  | (NamedWorker & {
      opt: "drain";
    })
  | (NamedWorker & {
      opt: "undrain";
    });
/**
 * Client to dispatcher.
 */
export type ContainerRequest =
  | (Create & {
      opt: "create";
    })
  | (NamedContainer & {
      opt: "start";
    })
  | (Stop & {
      opt: "stop";
    })
  | (Stop & {
      opt: "restart";
    })
  | (NamedContainer & {
      opt: "kill";
    })
  | (NamedContainer & {
      opt: "remove";
    })
  | (ListContainers & {
      opt: "list";
    })
  | (NamedContainer & {
      opt: "get";
    })
  | (NamedContainer & {
      opt: "history";
    })
  | (FollowConsole & {
      opt: "follow";
    })
  | (ReadConsole & {
      opt: "read";
    })
  | (NamedContainer & {
      opt: "unfollow";
    })
  | (Nothing & {
      opt: "watch";
    })
  | (Nothing & {
      opt: "unwatch";
    })
  | (ConsoleInput & {
      opt: "input";
    })
  | (ConsoleResize & {
      opt: "resize";
    })
  | (NamedContainer & {
      opt: "stats";
    })
  | (NamedContainer & {
      opt: "unstats";
    })
  | (Exec & {
      opt: "exec";
    });
export type ContainerRef = string | number;
/**
 * Where a container stands.
 */
export type ContainerStatus = "creating" | "running" | "stopped" | "failed" | "removed";
/**
 * Worker to dispatcher, about a job.
 */
export type AgentJobReport =
  | (AttemptRef & {
      opt: "accept";
    })
  | (Reject & {
      opt: "reject";
    })
  | (AgentOutput & {
      opt: "output";
    })
  | (AttemptEnd & {
      opt: "end";
    })
  | (AttemptGone & {
      opt: "gone";
    });
export type JobId = string;
/**
 * Which output of the program a chunk came from.
 */
export type StreamName = "stdout" | "stderr";
/**
 * Why a job ended, or went back to the queue.
 */
export type Reason =
  | "exit"
  | "signal"
  | "timeout"
  | "queue_timeout"
  | "worker_lost"
  | "spawn_error"
  | "out_of_memory"
  | "cancelled"
  | "rejected"
  | "removed";
/**
 * Worker to dispatcher, about itself.
 */
export type AgentReport =
  | (Register & {
      opt: "register";
    })
  | (Heartbeat & {
      opt: "heartbeat";
    })
  | (Nothing & {
      opt: "drain";
    })
  | (Nothing & {
      opt: "undrain";
    })
  | (SftpLogin & {
      opt: "sftpLogin";
    });
/**
 * Whether a held job still runs.
 */
export type ResumeState = "running" | "ended";
/**
 * Worker to dispatcher, about a container beyond what is said of its starts as jobs.
 */
export type AgentContainerReport =
  | (ContainerStarted & {
      opt: "started";
    })
  | (ContainerFailed & {
      opt: "failed";
    })
  | (ContainerUsageReport & {
      opt: "usage";
    });
/**
 * What is spoken on a port.
 */
export type Protocol = "tcp" | "udp";
/**
 * The codes of `error` frames.
 */
export type ErrorCode =
  | "bad_frame"
  | "unknown_type"
  | "unauthorized"
  | "forbidden"
  | "not_found"
  | "conflict"
  | "too_large"
  | "rate_limited"
  | "limit_exceeded"
  | "queue_full"
  | "unsatisfiable"
  | "stale_attempt"
  | "store_unavailable"
  | "unsupported_version"
  | "internal";
/**
 * Plugin to dispatcher.
 */
export type PluginReport =
  | (RegisterPlugin & {
      opt: "register";
    })
  | (Answer & {
      opt: "answer";
    });
/**
 * Where a plugin takes part.
 */
export type Hook =
  | "job.submit"
  | "job.start"
  | "job.end"
  | "container.create"
  | "container.start"
  | "container.end"
  | "worker.online"
  | "worker.offline";
export type PluginName = string;
/**
 * What a plugin decides.
 */
export type Action = "allow" | "change" | "refuse";
/**
 * Administrator to dispatcher.
 */
export type PluginRequest = Nothing & {
  opt: "list";
};
export type ToClient =
  | {
      data: ServerHello;
      id?: string | number;
      type: "hello";
    }
  | {
      data: HelloEvent;
      id?: string | number;
      type: "hello";
    }
  | {
      data: AuthEvent;
      id?: string | number;
      type: "auth";
    }
  | {
      data: JobEvent;
      id?: string | number;
      type: "job";
    }
  | {
      data: WorkerEvent;
      id?: string | number;
      type: "worker";
    }
  | {
      data: ContainerEvent;
      id?: string | number;
      type: "container";
    }
  | {
      data: PluginEvent;
      id?: string | number;
      type: "plugin";
    }
  | {
      data: WireError;
      id?: string | number;
      type: "error";
    }
  | {
      type: "ping" | "pong";
    };
/**
 * Whether a client must authenticate.
 */
export type AuthMode = "required" | "open";
/**
 * Dispatcher to client, in reply to the client's own `hello`.
 */
export type HelloEvent = Acknowledged & {
  opt: "ok";
};
/**
 * Dispatcher to client.
 */
export type AuthEvent =
  | (AuthReply & {
      opt: "ok";
    })
  | (Expiring & {
      opt: "expiring";
    })
  | (UsersReply & {
      opt: "users";
    })
  | (TokenReply & {
      opt: "token";
    })
  | (TokensReply & {
      opt: "tokens";
    })
  | (SessionsReply & {
      opt: "sessions";
    })
  | (AuditLog & {
      opt: "auditLog";
    });
/**
 * `ok`: the reply to a login, or, with `of`, to any other verb that has none of its own.
 */
export type AuthReply = AuthOk | Acknowledged;
/**
 * What is written down.
 */
export type AuditAction =
  | "login"
  | "loginFailed"
  | "logout"
  | "sessionEnd"
  | "register"
  | "profile"
  | "photo"
  | "passwordChange"
  | "userAdd"
  | "userRemove"
  | "userPassword"
  | "userRole"
  | "tokenCreate"
  | "tokenRevoke"
  | "drain"
  | "undrain"
  | "jobCancel"
  | "containerCreate"
  | "containerStart"
  | "containerStop"
  | "containerRestart"
  | "containerKill"
  | "containerRemove"
  | "containerExec";
/**
 * What came of an act.
 */
export type AuditOutcome = Done | ErrorCode;
/**
 * How it is said that something was done.
 */
export type Done = "ok";
/**
 * Dispatcher to client.
 */
export type JobEvent =
  | (Submitted & {
      opt: "submitted";
    })
  | (Following & {
      opt: "following";
    })
  | (StatusEvent & {
      opt: "status";
    })
  | (OutputEvent & {
      opt: "output";
    })
  | (EndEvent & {
      opt: "end";
    })
  | (Live & {
      opt: "live";
    })
  | (Truncated & {
      opt: "truncated";
    })
  | (JobReply & {
      opt: "job";
    })
  | (JobsReply & {
      opt: "jobs";
    })
  | (CountsReply & {
      opt: "counts";
    })
  | (JobPage & {
      opt: "page";
    })
  | (TemplatesReply & {
      opt: "templates";
    })
  | (Nothing & {
      opt: "lagged";
    })
  | (Acknowledged & {
      opt: "ok";
    });
export type Cursor = string;
/**
 * An entry of a job's log, as a follower is sent it.
 */
export type JobEntry =
  | (StatusEvent & {
      opt: "status";
    })
  | (OutputEvent & {
      opt: "output";
    })
  | (EndEvent & {
      opt: "end";
    });
/**
 * What a parameter may be.
 */
export type ParamType = "string" | "integer" | "number" | "boolean" | "choice";
/**
 * Dispatcher to client.
 */
export type WorkerEvent =
  | (WorkerReply & {
      opt: "worker";
    })
  | (WorkersReply & {
      opt: "workers";
    })
  | (WorkerHistory & {
      opt: "history";
    })
  | (WorkerReply & {
      opt: "status";
    })
  | (UsageEvent & {
      opt: "usage";
    })
  | (Nothing & {
      opt: "lagged";
    })
  | (Acknowledged & {
      opt: "ok";
    });
/**
 * Where a worker stands.
 */
export type WorkerStatus = "idle" | "busy" | "offline";
/**
 * Dispatcher to client.
 */
export type ContainerEvent =
  | (Created & {
      opt: "created";
    })
  | (ContainerReply & {
      opt: "container";
    })
  | (ContainersReply & {
      opt: "containers";
    })
  | (FollowingConsole & {
      opt: "following";
    })
  | (ContainerStatusEvent & {
      opt: "status";
    })
  | (ConsoleOutput & {
      opt: "output";
    })
  | (StartEnded & {
      opt: "end";
    })
  | (ConsoleLive & {
      opt: "live";
    })
  | (ConsoleTruncated & {
      opt: "truncated";
    })
  | (StatsEvent & {
      opt: "stats";
    })
  | (ContainerHistory & {
      opt: "history";
    })
  | (ConsolePage & {
      opt: "page";
    })
  | (Nothing & {
      opt: "lagged";
    })
  | (Acknowledged & {
      opt: "ok";
    });
/**
 * An entry of a container's console, as a follower is sent it.
 */
export type ConsoleEntry =
  | (ContainerStatusEvent & {
      opt: "status";
    })
  | (ConsoleOutput & {
      opt: "output";
    })
  | (StartEnded & {
      opt: "end";
    });
/**
 * Dispatcher to administrator.
 */
export type PluginEvent = PluginsReply & {
  opt: "plugins";
};
/**
 * What happens to whatever a plugin was to decide on when it does not answer.
 */
export type Policy = "open" | "closed";
export type ToWorker =
  | {
      data: ServerHello;
      id?: string | number;
      type: "hello";
    }
  | {
      data: AuthEvent;
      id?: string | number;
      type: "auth";
    }
  | {
      data: AgentJobOrder;
      id?: string | number;
      type: "job";
    }
  | {
      data: AgentOrder;
      id?: string | number;
      type: "worker";
    }
  | {
      data: AgentContainerOrder;
      id?: string | number;
      type: "container";
    }
  | {
      data: WireError;
      id?: string | number;
      type: "error";
    }
  | {
      type: "ping" | "pong";
    };
/**
 * Dispatcher to worker, about a job.
 */
export type AgentJobOrder =
  | (Assign & {
      opt: "assign";
    })
  | (Ack & {
      opt: "ack";
    })
  | (Nack & {
      opt: "nack";
    })
  | (CancelAttempt & {
      opt: "cancel";
    })
  | (AgentInput & {
      opt: "input";
    })
  | (AgentResize & {
      opt: "resize";
    });
/**
 * Dispatcher to worker, about the worker.
 */
export type AgentOrder =
  | (Registered & {
      opt: "registered";
    })
  | (Lost & {
      opt: "heartbeat";
    })
  | (Nothing & {
      opt: "drain";
    })
  | (Nothing & {
      opt: "undrain";
    })
  | (SftpGrant & {
      opt: "sftpLogin";
    });
/**
 * Whether a held job is still the worker's.
 */
export type Verdict = "continue" | "drop";
/**
 * Dispatcher to worker, about a container.
 */
export type AgentContainerOrder =
  | (MeasureContainer & {
      opt: "measure";
    })
  | (ContainerOnly & {
      opt: "halt";
    })
  | (ContainerOnly & {
      opt: "forget";
    });
export type ToPlugin =
  | {
      data: ServerHello;
      id?: string | number;
      type: "hello";
    }
  | {
      data: AuthEvent;
      id?: string | number;
      type: "auth";
    }
  | {
      data: PluginOrder;
      id?: string | number;
      type: "plugin";
    }
  | {
      data: WireError;
      id?: string | number;
      type: "error";
    }
  | {
      type: "ping" | "pong";
    };
/**
 * Dispatcher to plugin.
 */
export type PluginOrder =
  | (RegisteredPlugin & {
      opt: "registered";
    })
  | (Call & {
      opt: "call";
    })
  | (Event & {
      opt: "event";
    })
  | (Acknowledged & {
      opt: "ok";
    });

/**
 * `data` of a client's optional `hello`.
 */
export interface ClientHello {
  /**
   * The version that the client speaks.
   */
  protocol: number;
}
/**
 * `auth`: a token, or an account with its password.
 */
export interface Login {
  /**
   * Account name or email.
   */
  account?: string | null;
  /**
   * Its password.
   */
  password?: string | null;
  /**
   * An access token or an API token.
   */
  token?: string | null;
}
/**
 * `userAdd`. Administrators only, as all that is named after users.
 */
export interface UserAdd {
  /**
   * The new account's name.
   */
  account: string;
  /**
   * Another name to log in with.
   */
  email?: string | null;
  /**
   * Without one the account can only be used by tokens.
   */
  password?: string | null;
  /**
   * `user` unless given.
   */
  role?: Role | null;
}
/**
 * `data` of verbs that have no fields.
 */
export interface Nothing {}
/**
 * Names an account.
 */
export interface NamedUser {
  /**
   * Its name.
   */
  account: string;
}
/**
 * `userPassword`: sets a password; every token of the account that a password made ends.
 */
export interface UserPassword {
  /**
   * The account.
   */
  account: string;
  /**
   * Its new password.
   */
  password: string;
}
/**
 * `userRole`: gives an account another role; its logins end, and its API tokens that may do more than the new role.
 */
export interface UserRole {
  /**
   * The account.
   */
  account: string;
  role: Role;
}
/**
 * `passwordChange`: another password of one's own. All logins end; the connection goes on with the one of the reply.
 */
export interface PasswordChange {
  /**
   * The new one.
   */
  password: string;
  /**
   * The one until now.
   */
  present: string;
}
/**
 * `sessionList`: the logins by password that still last.
 */
export interface SessionList {
  /**
   * One's own unless given. Administrators may name any account, or `*` for all of them.
   */
  account?: string | null;
}
/**
 * `sessionEnd`: ends a login everywhere, as logging out does.
 */
export interface SessionEnd {
  /**
   * Which one.
   */
  id: string;
}
/**
 * `tokenCreate`: an API token.
 */
export interface TokenCreate {
  /**
   * Whose jobs it submits; the asker's own account unless given.
   */
  account?: string | null;
  /**
   * What its owner calls it, at most 64 characters.
   */
  name?: string | null;
  role: Role;
  /**
   * How long it lives, in seconds; for ever unless given.
   */
  ttlSecs?: number | null;
}
/**
 * `tokenRevoke`.
 */
export interface TokenRevoke {
  /**
   * The token's id, or the token itself.
   */
  token: string;
}
/**
 * `audit`: what was done, newest first. Administrators see all of it, users what they did themselves.
 */
export interface AuditQuery {
  /**
   * Only what this account did.
   */
  account?: string | null;
  /**
   * Only what was done before this entry: `next` of the page before.
   */
  before?: string | null;
  /**
   * Entries at most; 50 unless given, 1,000 at most.
   */
  limit?: number | null;
}
/**
 * `submit`: the spec's fields beside these.
 */
export interface Submit {
  /**
   * An argument vector, run without a shell.
   */
  args?: string[] | null;
  /**
   * Glob patterns of files to keep when the job ends, relative to the workspace.
   */
  artifacts?: string[];
  /**
   * A shell script, run as is by `/bin/sh -c`.
   */
  command?: string | null;
  /**
   * On the way to a worker: run inside this running container. Clients use `container exec`.
   */
  container?: ContainerId | null;
  /**
   * Working directory, relative to the job's workspace.
   */
  cwd?: string | null;
  /**
   * Environment variables beside the worker's own.
   */
  env?: {
    [k: string]: string;
  };
  /**
   * A ZIP to unpack into the workspace first.
   */
  fileUrl?: string | null;
  /**
   * The ZIP's own name.
   */
  filename?: string | null;
  /**
   * Whether the submitter follows the job at once; `true` unless given.
   */
  follow?: boolean | null;
  /**
   * Between SIGTERM and SIGKILL, in seconds; 10 unless given.
   */
  graceSecs?: number | null;
  /**
   * Run inside a container of this image.
   */
  image?: string | null;
  /**
   * Idempotency key, per account.
   */
  key?: string | null;
  /**
   * Most runs under `onLost: requeue`; 3 unless given.
   */
  maxAttempts?: number | null;
  /**
   * For people.
   */
  name?: string | null;
  onLost?: OnLost;
  /**
   * The template's parameters.
   */
  params?: {
    [k: string]: unknown;
  };
  /**
   * Higher runs first.
   */
  priority?: number;
  /**
   * Limit of the wait, in seconds.
   */
  queueTimeoutSecs?: number | null;
  requires?: Requires;
  /**
   * On the way to a worker: this is a container, of the image above. Clients use `container create`.
   */
  service?: Service | null;
  /**
   * Whether standard input stays open for `input`.
   */
  stdin?: boolean;
  /**
   * For filters.
   */
  tags?: string[];
  /**
   * A named template of the server.
   */
  template?: string | null;
  /**
   * Limit of the run, in seconds.
   */
  timeoutSecs?: number | null;
  tty?: Tty;
}
/**
 * What a worker must have to get the job.
 */
export interface Requires {
  /**
   * Processors, in thousandths at the finest.
   */
  cpus?: number | null;
  /**
   * These GPUs, by index.
   */
  gpuIds?: number[] | null;
  /**
   * How many GPUs, whichever they are.
   */
  gpus?: number | null;
  /**
   * Labels that the worker must carry.
   */
  labels?: {
    [k: string]: string;
  };
  /**
   * Memory.
   */
  memoryBytes?: number | null;
  /**
   * This worker and no other.
   */
  workerId?: WorkerId | null;
}
/**
 * What makes a job a container, on its way to the worker.
 */
export interface Service {
  /**
   * Volumes.
   */
  mounts?: Mount[];
  /**
   * Ports to make reachable.
   */
  ports?: Port[];
  restart?: Restart;
}
/**
 * A volume, and where it is seen. It belongs to the container, and goes with it.
 */
export interface Mount {
  /**
   * Where the container sees it: an absolute path.
   */
  path: string;
  /**
   * Whether the container may only read it.
   */
  readOnly?: boolean;
  /**
   * Its name: 1 to 64 letters, digits, `.`, `_` or `-`.
   */
  volume: string;
}
/**
 * `follow`.
 */
export interface Follow {
  /**
   * Where to begin.
   */
  after?: After & string;
  jobId: JobRef;
}
/**
 * Names a job.
 */
export interface Named {
  jobId: JobRef;
}
/**
 * `list`, newest first.
 */
export interface List {
  /**
   * Only jobs of this account; another's than one's own for administrators alone.
   */
  account?: string | null;
  /**
   * Only jobs older than this one: `next` of the page before, or any job.
   */
  before?: JobRef | null;
  /**
   * Jobs at most; 50 unless given, 1,000 at most.
   */
  limit?: number | null;
  /**
   * Only jobs of this status.
   */
  status?: Status | null;
  /**
   * Only jobs with this tag.
   */
  tag?: string | null;
  /**
   * Only jobs with this in their name, command, arguments, image, tags, id or number, in capitals or not.
   */
  text?: string | null;
  /**
   * Only jobs that this worker has or had.
   */
  workerId?: WorkerId | null;
}
/**
 * `job read`.
 */
export interface Read {
  /**
   * On from here; from the log's beginning unless this or `before` is given.
   */
  after?: After | null;
  /**
   * Back from here.
   */
  before?: Before | null;
  jobId: JobRef;
  /**
   * About so many bytes of output at the most; 65,536 unless given, 524,288 at the most.
   */
  maxBytes?: number | null;
}
/**
 * `input`.
 */
export interface Input {
  /**
   * Bytes for it.
   */
  base64?: string | null;
  /**
   * Whether this is the end of the input.
   */
  eof?: boolean;
  jobId: JobRef;
  /**
   * Text for the job's standard input.
   */
  text?: string | null;
}
/**
 * `resize`.
 */
export interface Resize {
  /**
   * Columns.
   */
  cols: number;
  jobId: JobRef;
  /**
   * Rows.
   */
  rows: number;
}
/**
 * `cancel`.
 */
export interface Cancel {
  /**
   * Between SIGTERM and SIGKILL, in seconds; the job's own unless given.
   */
  graceSecs?: number | null;
  jobId: JobRef;
}
/**
 * `list`.
 */
export interface ListWorkers {
  /**
   * Only workers whose id sorts after this one: `next` of the page before.
   */
  before?: WorkerId | null;
  /**
   * Workers at most; 50 unless given, 1,000 at most.
   */
  limit?: number | null;
}
/**
 * Names a worker.
 */
export interface NamedWorker {
  workerId: WorkerId;
}
/**
 * `create`.
 */
export interface Create {
  /**
   * An argument vector instead of it.
   */
  args?: string[] | null;
  /**
   * A shell script instead of the image's own program.
   */
  command?: string | null;
  /**
   * Most processors.
   */
  cpus?: number | null;
  /**
   * Environment variables beside the image's own.
   */
  env?: {
    [k: string]: string;
  };
  /**
   * These GPUs, by index.
   */
  gpuIds?: number[] | null;
  /**
   * How many GPUs, whichever they are.
   */
  gpus?: number | null;
  /**
   * Between SIGTERM and SIGKILL, in seconds; 10 unless given.
   */
  graceSecs?: number | null;
  /**
   * The image; required.
   */
  imageId?: string | null;
  /**
   * Most memory.
   */
  memoryBytes?: number | null;
  /**
   * Volumes.
   */
  mounts?: Mount[];
  /**
   * What its owner calls it; unique among the account's containers.
   */
  name?: string | null;
  /**
   * One more of them.
   */
  port?: Port | null;
  /**
   * Ports to make reachable.
   */
  ports?: Port[];
  requires?: Requires;
  restart?: Restart;
  tty?: Tty;
  /**
   * This worker and no other.
   */
  workerId?: WorkerId | null;
}
/**
 * Names a container.
 */
export interface NamedContainer {
  containerId: ContainerRef;
}
/**
 * `stop`, and `restart`, which stops first.
 */
export interface Stop {
  containerId: ContainerRef;
  /**
   * Between SIGTERM and SIGKILL, in seconds; 10 unless given.
   */
  graceSecs?: number | null;
}
/**
 * `list`, newest first.
 */
export interface ListContainers {
  /**
   * Only containers older than this one: `next` of the page before.
   */
  before?: ContainerRef | null;
  /**
   * Containers at most; 50 unless given, 1,000 at most.
   */
  limit?: number | null;
  /**
   * Only containers of this status.
   */
  status?: ContainerStatus | null;
  /**
   * Only containers on this worker.
   */
  workerId?: WorkerId | null;
}
/**
 * `follow`: the console.
 */
export interface FollowConsole {
  /**
   * Where to begin.
   */
  after?: After & string;
  containerId: ContainerRef;
}
/**
 * `container read`.
 */
export interface ReadConsole {
  /**
   * On from here; from the console's beginning unless this or `before` is given.
   */
  after?: After | null;
  /**
   * Back from here.
   */
  before?: Before | null;
  containerId: ContainerRef;
  /**
   * About so many bytes of output at the most; 65,536 unless given, 524,288 at the most.
   */
  maxBytes?: number | null;
}
/**
 * `input`.
 */
export interface ConsoleInput {
  /**
   * Bytes for it.
   */
  base64?: string | null;
  containerId: ContainerRef;
  /**
   * Whether this is the end of the input.
   */
  eof?: boolean;
  /**
   * Text for its standard input.
   */
  text?: string | null;
}
/**
 * `resize`.
 */
export interface ConsoleResize {
  /**
   * Columns.
   */
  cols: number;
  containerId: ContainerRef;
  /**
   * Rows.
   */
  rows: number;
}
/**
 * `exec`: a job inside a running container, with `args` or `command` as in jobs. The reply is that of a job's `submit`, and
 * from there on it is a job like any other.
 */
export interface Exec {
  /**
   * An argument vector, run without a shell.
   */
  args?: string[] | null;
  /**
   * A shell script.
   */
  command?: string | null;
  /**
   * Which container; required.
   */
  containerId?: ContainerRef | null;
  /**
   * Working directory in the container; the image's own unless given.
   */
  cwd?: string | null;
  /**
   * Environment variables beside the container's own.
   */
  env?: {
    [k: string]: string;
  };
  /**
   * Whether the submitter follows the job at once; `true` unless given.
   */
  follow?: boolean | null;
  /**
   * Whether standard input stays open for `input`.
   */
  stdin?: boolean;
  /**
   * Limit of the run, in seconds.
   */
  timeoutSecs?: number | null;
  tty?: Tty;
}
/**
 * Names an attempt; `accept` is no more than that.
 */
export interface AttemptRef {
  /**
   * The attempt.
   */
  attempt: number;
  jobId: JobId;
}
/**
 * `reject`: the worker cannot run this.
 */
export interface Reject {
  /**
   * The attempt.
   */
  attempt: number;
  jobId: JobId;
  /**
   * Why, in words.
   */
  reason?: string;
}
/**
 * `output`: a chunk, frozen when its `n` was given.
 */
export interface AgentOutput {
  /**
   * The attempt.
   */
  attempt: number;
  /**
   * The bytes, where they are not.
   */
  base64?: string | null;
  jobId: JobId;
  /**
   * Counts from 1 without holes over both streams.
   */
  n: number;
  /**
   * Raw byte offset within the stream. The dispatcher counts for itself.
   */
  offset?: number;
  stream: StreamName;
  /**
   * The bytes, where they are text.
   */
  text?: string | null;
  /**
   * When the worker read it, in milliseconds; the dispatcher's clock where absent.
   */
  time?: number | null;
}
/**
 * `end`: the program is over and every chunk was sent.
 */
export interface AttemptEnd {
  /**
   * The attempt.
   */
  attempt: number;
  /**
   * In words, where there is more to say.
   */
  errorMessage?: string | null;
  /**
   * Exit code; 128+n where signal n ended the program.
   */
  exitCode?: number | null;
  jobId: JobId;
  /**
   * One past the last output.
   */
  n: number;
  reason: Reason;
  /**
   * When, in milliseconds; the dispatcher's clock where absent.
   */
  time?: number | null;
}
/**
 * `gone`: the answer to a `nack` for what was `stable` and is forgotten.
 */
export interface AttemptGone {
  /**
   * The attempt.
   */
  attempt: number;
  jobId: JobId;
  /**
   * The last entry that is gone.
   */
  n: number;
  /**
   * Bytes of standard error up to there.
   */
  stderrBytes?: number;
  /**
   * Bytes of standard output up to there.
   */
  stdoutBytes?: number;
}
/**
 * `register`: the first frame of a worker, on every connection.
 */
export interface Register {
  /**
   * With `pubKey`: where clients reach it, as `address:port`.
   */
  address?: string | null;
  /**
   * Processor architecture.
   */
  arch?: string;
  /**
   * When the agent process started, in milliseconds. A larger one supersedes.
   */
  boot: number;
  /**
   * Containers of which it has data, running or not.
   */
  containers?: ContainerId[];
  /**
   * Processors.
   */
  cpuCount?: number;
  /**
   * Disk of the workspaces.
   */
  diskBytes?: number;
  /**
   * Its GPUs.
   */
  gpus?: GpuInfo[];
  /**
   * Its machine.
   */
  hostname?: string;
  /**
   * Container images at hand; absent where there is no container engine.
   */
  images?: string[] | null;
  /**
   * Its labels.
   */
  labels?: {
    [k: string]: string;
  };
  /**
   * Memory.
   */
  memoryBytes?: number;
  /**
   * Operating system.
   */
  os?: string;
  /**
   * With `address`: it is brokered, and this is the public key by which clients know it.
   */
  pubKey?: string | null;
  /**
   * Jobs that this agent holds from before. An agent that has just started adds each container that an earlier one
   * started, whether it still runs or has ended meanwhile, with the start that it is of: the verdict says after which
   * bytes of its output to go on, and an `end` is told as of any other.
   */
  resume?: Resume[];
  /**
   * Address of its SFTP server, as `host:port` or `:port`.
   */
  sftp?: string | null;
  /**
   * Jobs at a time.
   */
  slots?: number;
  /**
   * Version of the agent.
   */
  version?: string;
  workerId: WorkerId;
}
/**
 * A GPU of a worker.
 */
export interface GpuInfo {
  /**
   * The index that `requires.gpuIds` and `CUDA_VISIBLE_DEVICES` use.
   */
  index: number;
  /**
   * Its memory.
   */
  memoryBytes?: number;
  /**
   * Model.
   */
  name?: string;
  /**
   * The device's own id.
   */
  uuid?: string;
}
/**
 * A job that a registering worker holds.
 */
export interface Resume {
  /**
   * The attempt.
   */
  attempt: number;
  jobId: JobId;
  /**
   * The last entry that the worker numbered, 0 for none.
   */
  lastN?: number;
  /**
   * `running`, or `ended` when only the log is still to be sent.
   */
  state?: ResumeState & string;
}
/**
 * Worker's `heartbeat`.
 */
export interface Heartbeat {
  /**
   * What its containers use, as far as they were measured.
   */
  containers?: ContainerUsageReport[];
  /**
   * Jobs that this worker holds.
   */
  jobs?: [unknown, unknown][];
  /**
   * What the machine uses.
   */
  usage?: Usage | null;
}
/**
 * What a container uses: `usage`, which answers `measure` about once a second, and in every heartbeat.
 */
export interface ContainerUsageReport {
  containerId: ContainerId;
  usage: ContainerUsage;
}
/**
 * What a container uses.
 */
export interface ContainerUsage {
  /**
   * Processors: 1.5 is one and a half.
   */
  cpu?: number;
  /**
   * Read from disks a second.
   */
  diskReadBytes?: number;
  /**
   * Written to disks a second.
   */
  diskWriteBytes?: number;
  /**
   * Each of its GPUs, as the worker last saw it; none where it has none, or nothing is known of them.
   */
  gpus?: GpuUsage[];
  /**
   * Memory, without what the system merely caches.
   */
  memoryBytes?: number;
  /**
   * How much of it there may be; 0 where that is not limited.
   */
  memoryLimitBytes?: number;
  /**
   * Received a second.
   */
  networkInBytes?: number;
  /**
   * Sent a second.
   */
  networkOutBytes?: number;
  /**
   * Processes and threads.
   */
  pids?: number;
}
/**
 * What one GPU uses.
 */
export interface GpuUsage {
  /**
   * Which one.
   */
  index?: number;
  /**
   * Its memory in use.
   */
  memoryBytes?: number;
  /**
   * Watts.
   */
  powerWatts?: number | null;
  /**
   * Degrees Celsius.
   */
  temperature?: number | null;
  /**
   * From 0 to 1.
   */
  utilization?: number;
}
/**
 * What a machine uses.
 */
export interface Usage {
  /**
   * Processors, from 0 to 1 over all of them.
   */
  cpu?: number;
  /**
   * Disk of the workspaces.
   */
  diskBytes?: number;
  /**
   * Each GPU.
   */
  gpus?: GpuUsage[];
  /**
   * Memory.
   */
  memoryBytes?: number;
  /**
   * Received a second.
   */
  networkInBytes?: number;
  /**
   * Sent a second.
   */
  networkOutBytes?: number;
}
/**
 * Worker's `sftpLogin`: somebody is at its SFTP server; may they come in? The answer carries the same frame id.
 */
export interface SftpLogin {
  /**
   * Account name or email.
   */
  account: string;
  /**
   * The address that they come from.
   */
  from: string;
  jobId: JobRef;
  /**
   * Its password, or an API token of the account.
   */
  password: string;
}
/**
 * `started`: the container runs.
 */
export interface ContainerStarted {
  /**
   * Its start.
   */
  attempt: number;
  containerId: ContainerId;
  /**
   * How it is reached; addresses are for the dispatcher to add.
   */
  ports?: BoundPort[];
}
/**
 * A port of a container that is reachable from outside.
 */
export interface BoundPort {
  /**
   * `address:port`, as far as the dispatcher knows the worker's address.
   */
  address?: string;
  /**
   * The port inside.
   */
  container: number;
  /**
   * The port of the worker's machine.
   */
  host: number;
  /**
   * `tcp` or `udp`.
   */
  protocol?: Protocol & string;
}
/**
 * `failed`: why the container cannot be started. The `end` of the start follows.
 */
export interface ContainerFailed {
  /**
   * Its start.
   */
  attempt: number;
  code: ErrorCode;
  containerId: ContainerId;
  /**
   * Path of the field at fault, such as `requires.gpus`.
   */
  field?: string | null;
  /**
   * For people.
   */
  message: string;
  /**
   * Whether the same frame can succeed later.
   */
  retry?: boolean;
  /**
   * When a retry makes sense, in milliseconds.
   */
  retryAfterMs?: number | null;
}
/**
 * `register`: the first frame of a plugin, on every connection.
 */
export interface RegisterPlugin {
  /**
   * What it takes part in; at least one.
   */
  hooks: Hook[];
  name: PluginName;
}
/**
 * The answer to a call.
 */
export interface Answer {
  action: Action;
  /**
   * Which call.
   */
  callId: number;
  /**
   * With `change`: the whole container as it is to be.
   */
  container?: Create | null;
  /**
   * With `change`: the whole job as it is to be.
   */
  job?: JobSpec | null;
  /**
   * With `refuse`: what the asker is told.
   */
  message?: string | null;
}
/**
 * A job's spec. `command`, `args`, `template` exclude each other.
 */
export interface JobSpec {
  /**
   * An argument vector, run without a shell.
   */
  args?: string[] | null;
  /**
   * Glob patterns of files to keep when the job ends, relative to the workspace.
   */
  artifacts?: string[];
  /**
   * A shell script, run as is by `/bin/sh -c`.
   */
  command?: string | null;
  /**
   * On the way to a worker: run inside this running container. Clients use `container exec`.
   */
  container?: ContainerId | null;
  /**
   * Working directory, relative to the job's workspace.
   */
  cwd?: string | null;
  /**
   * Environment variables beside the worker's own.
   */
  env?: {
    [k: string]: string;
  };
  /**
   * A ZIP to unpack into the workspace first.
   */
  fileUrl?: string | null;
  /**
   * The ZIP's own name.
   */
  filename?: string | null;
  /**
   * Between SIGTERM and SIGKILL, in seconds; 10 unless given.
   */
  graceSecs?: number | null;
  /**
   * Run inside a container of this image.
   */
  image?: string | null;
  /**
   * Most runs under `onLost: requeue`; 3 unless given.
   */
  maxAttempts?: number | null;
  /**
   * For people.
   */
  name?: string | null;
  onLost?: OnLost;
  /**
   * The template's parameters.
   */
  params?: {
    [k: string]: unknown;
  };
  /**
   * Higher runs first.
   */
  priority?: number;
  /**
   * Limit of the wait, in seconds.
   */
  queueTimeoutSecs?: number | null;
  requires?: Requires;
  /**
   * On the way to a worker: this is a container, of the image above. Clients use `container create`.
   */
  service?: Service | null;
  /**
   * Whether standard input stays open for `input`.
   */
  stdin?: boolean;
  /**
   * For filters.
   */
  tags?: string[];
  /**
   * A named template of the server.
   */
  template?: string | null;
  /**
   * Limit of the run, in seconds.
   */
  timeoutSecs?: number | null;
  tty?: Tty;
}
/**
 * `data` of the server's `hello`, sent before anything else.
 */
export interface ServerHello {
  auth: AuthMode;
  /**
   * Which dispatcher this is.
   */
  instance: string;
  /**
   * Largest frame that this connection may send.
   */
  maxFrameBytes: number;
  /**
   * The server's clock, in milliseconds.
   */
  now: number;
  /**
   * How often the server pings, in seconds.
   */
  pingSecs: number;
  /**
   * Protocol version.
   */
  protocol: number;
  /**
   * Name and version of the server.
   */
  server: string;
}
/**
 * `data` of `{"opt":"ok","of":…}`: done, and there is nothing more to say.
 */
export interface Acknowledged {
  /**
   * The verb that was done.
   */
  of: string;
}
/**
 * The socket is authenticated.
 */
export interface AuthOk {
  /**
   * Who.
   */
  account: string;
  /**
   * Until when, in milliseconds; null for ever.
   */
  expiresAt?: number | null;
  role: Role;
  /**
   * After a login with a password: an access token to come back with.
   */
  token?: string | null;
}
/**
 * The token runs out soon: send `auth` again.
 */
export interface Expiring {
  /**
   * When, in milliseconds.
   */
  expiresAt: number;
}
/**
 * Accounts by name.
 */
export interface UsersReply {
  /**
   * All of them.
   */
  users: UserRecord[];
}
/**
 * What is shown of an account.
 */
export interface UserRecord {
  /**
   * Its name.
   */
  account: string;
  /**
   * Since when, in milliseconds.
   */
  createdAt: number;
  /**
   * Its email.
   */
  email?: string | null;
  role: Role;
}
/**
 * A new API token. It is shown this once.
 */
export interface TokenReply {
  record: TokenRecord;
  /**
   * The token itself.
   */
  token: string;
}
/**
 * What is shown of an API token.
 */
export interface TokenRecord {
  /**
   * Whose jobs it submits.
   */
  account: string;
  /**
   * Since when, in milliseconds.
   */
  createdAt: number;
  /**
   * Until when, in milliseconds.
   */
  expiresAt?: number | null;
  /**
   * Names it for `tokenRevoke`.
   */
  id: string;
  /**
   * What its owner calls it.
   */
  name?: string | null;
  role: Role;
}
/**
 * API tokens, newest first.
 */
export interface TokensReply {
  /**
   * All of them.
   */
  tokens: TokenRecord[];
}
/**
 * Logins by password, the latest first.
 */
export interface SessionsReply {
  /**
   * At most 1,000.
   */
  sessions: SessionRecord[];
}
/**
 * What is shown of a login by password.
 */
export interface SessionRecord {
  /**
   * Who has logged in.
   */
  account: string;
  /**
   * When, in milliseconds.
   */
  createdAt: number;
  /**
   * Whether this connection rests on it.
   */
  current: boolean;
  /**
   * When its last token runs out, in milliseconds.
   */
  expiresAt: number;
  /**
   * The address that it came from.
   */
  from: string;
  /**
   * Names it for `sessionEnd`.
   */
  id: string;
  /**
   * When its tokens were last made anew, in milliseconds.
   */
  lastUsedAt: number;
  /**
   * What the program that logged in says it is.
   */
  userAgent?: string | null;
}
/**
 * A page of the audit log.
 */
export interface AuditLog {
  /**
   * Newest first.
   */
  entries: AuditRecord[];
  /**
   * `before` of the next page; null on the last one.
   */
  next?: string | null;
}
/**
 * One act.
 */
export interface AuditRecord {
  /**
   * Who. Of a failed login: the account that was tried, or what was given as one.
   */
  account: string;
  action: AuditAction;
  /**
   * What else there is to say.
   */
  detail?: string | null;
  /**
   * From which address, where it is known.
   */
  from?: string | null;
  /**
   * Its name; a later one sorts after it.
   */
  id: string;
  outcome: AuditOutcome;
  /**
   * As what; null where nothing was proved.
   */
  role?: Role | null;
  /**
   * To what: an account, the id of a token, a login, a worker, a job or a container.
   */
  target?: string | null;
  /**
   * When, in milliseconds.
   */
  time: number;
}
/**
 * Reply to `submit`.
 */
export interface Submitted {
  /**
   * Whether `key` named a job that was there before.
   */
  duplicate: boolean;
  jobId: JobId;
  status: Status;
  /**
   * The job's short number.
   */
  taskId: number;
}
/**
 * Reply to `follow`.
 */
export interface Following {
  from: Cursor;
  jobId: JobId;
  status: Status;
  top: Cursor;
}
/**
 * A change of status: an entry of a followed log (then it has `at`), or one of `watch`.
 */
export interface StatusEvent {
  /**
   * In `watch`: whose job it is.
   */
  account?: string | null;
  /**
   * Its cursor, in a followed log; absent in `watch`.
   */
  at?: Cursor | null;
  /**
   * The attempt that it is about.
   */
  attempt: number;
  /**
   * In `watch`: the exit code, once ended.
   */
  exitCode?: number | null;
  jobId: JobId;
  /**
   * In `watch`: the job's name.
   */
  name?: string | null;
  /**
   * Why, where there is a reason.
   */
  reason?: Reason | null;
  status: Status;
  /**
   * In `watch`: the short number.
   */
  taskId?: number | null;
  /**
   * When, in milliseconds.
   */
  time: number;
  /**
   * The worker that has the job.
   */
  workerId?: WorkerId | null;
}
/**
 * A chunk of output.
 */
export interface OutputEvent {
  at: Cursor;
  /**
   * The bytes, where they are not.
   */
  base64?: string | null;
  jobId: JobId;
  /**
   * Raw byte offset within the stream and attempt.
   */
  offset: number;
  stream: StreamName;
  /**
   * The bytes, where they are text.
   */
  text?: string | null;
  /**
   * When the worker read it, in milliseconds.
   */
  time: number;
}
/**
 * The job is over.
 */
export interface EndEvent {
  at: Cursor;
  /**
   * In words, where there is more to say.
   */
  errorMessage?: string | null;
  /**
   * Exit code; 128+n where signal n ended the program; null where it never ran.
   */
  exitCode?: number | null;
  jobId: JobId;
  reason: Reason;
  status: Status;
  /**
   * When, in milliseconds.
   */
  time: number;
}
/**
 * The reader has caught up with a job that still runs.
 */
export interface Live {
  at: Cursor;
  jobId: JobId;
}
/**
 * Entries that are gone, both ends included.
 */
export interface Truncated {
  from: Cursor;
  jobId: JobId;
  to: Cursor;
}
/**
 * One job.
 */
export interface JobReply {
  job: JobRecord;
}
/**
 * What is known of a job.
 */
export interface JobRecord {
  /**
   * Whose it is.
   */
  account: string;
  /**
   * Its argument vector.
   */
  args?: string[] | null;
  /**
   * The latest attempt; 0 before the first.
   */
  attempt: number;
  /**
   * Its shell script.
   */
  command?: string | null;
  /**
   * Ended, in milliseconds.
   */
  completedAt?: number | null;
  /**
   * Submitted, in milliseconds.
   */
  createdAt: number;
  /**
   * What went wrong, in words.
   */
  errorMessage?: string | null;
  /**
   * Exit code.
   */
  exitCode?: number | null;
  /**
   * The GPUs it was given.
   */
  gpuIds: number[];
  /**
   * Its container image.
   */
  image?: string | null;
  jobId: JobId;
  /**
   * For people.
   */
  name?: string | null;
  /**
   * Its priority.
   */
  priority: number;
  /**
   * Why it ended.
   */
  reason?: Reason | null;
  /**
   * The spec as submitted, environment included; in `get` only.
   */
  spec?: JobSpec | null;
  /**
   * The latest attempt began, in milliseconds; none while the job waits.
   */
  startedAt?: number | null;
  status: Status;
  /**
   * Bytes of standard error in the latest attempt.
   */
  stderrBytes: number;
  /**
   * Bytes of standard output in the latest attempt.
   */
  stdoutBytes: number;
  /**
   * Its tags.
   */
  tags: string[];
  /**
   * Its short number.
   */
  taskId: number;
  /**
   * Why a pending job is pending, in words.
   */
  waitingFor?: string | null;
  /**
   * The worker that has or had it; none while it waits.
   */
  workerId?: WorkerId | null;
}
/**
 * A page of jobs.
 */
export interface JobsReply {
  /**
   * Newest first.
   */
  jobs: JobRecord[];
  /**
   * `before` of the next page; null on the last one.
   */
  next?: string | null;
}
/**
 * How many jobs of each status are kept: one's own, or everyone's for an administrator. Containers are not among them.
 */
export interface CountsReply {
  /**
   * Ended because someone asked.
   */
  cancelled: number;
  /**
   * Ended with exit code 0.
   */
  completed: number;
  /**
   * Ended otherwise.
   */
  failed: number;
  /**
   * Wait for a worker.
   */
  pending: number;
  /**
   * Were given to a worker.
   */
  running: number;
}
/**
 * Reply to `job read`.
 */
export interface JobPage {
  /**
   * Entries, in order.
   */
  entries: JobEntry[];
  jobId: JobId;
  /**
   * Whether there are entries further on in the same direction.
   */
  more: boolean;
  /**
   * Entries that are gone, right before the first of `entries`.
   */
  removed?: Removed | null;
  status: Status;
  top: Cursor;
}
/**
 * Entries that are gone, both ends included.
 */
export interface Removed {
  from: Cursor;
  to: Cursor;
}
/**
 * Reply to `templates`.
 */
export interface TemplatesReply {
  /**
   * By name.
   */
  templates: TemplateRecord[];
}
/**
 * A template.
 */
export interface TemplateRecord {
  /**
   * For people.
   */
  description?: string | null;
  /**
   * What `submit` names it by.
   */
  name: string;
  /**
   * What may be said in `params`, by name.
   */
  params: ParamRecord[];
}
/**
 * A parameter of a template.
 */
export interface ParamRecord {
  /**
   * For people.
   */
  description?: string | null;
  /**
   * What a choice is between.
   */
  choices?: string[] | null;
  /**
   * What it is where it is not given.
   */
  default?: {
    [k: string]: unknown;
  };
  /**
   * The most that a number may be.
   */
  max?: number | null;
  /**
   * The longest that a string may be, in bytes.
   */
  maxLength?: number | null;
  /**
   * The least that a number may be.
   */
  min?: number | null;
  /**
   * Its name in `params`.
   */
  name: string;
  /**
   * Whether it must be given, because it has no `default`.
   */
  required: boolean;
  type: ParamType;
}
/**
 * One worker; also what `watch` sends when its status changes.
 */
export interface WorkerReply {
  worker: WorkerRecord;
}
/**
 * What is known of a worker.
 */
export interface WorkerRecord {
  /**
   * Processor architecture.
   */
  arch: string;
  /**
   * Connected since, in milliseconds.
   */
  connectedAt?: number | null;
  /**
   * Processors.
   */
  cpuCount: number;
  /**
   * Disk of the workspaces.
   */
  diskBytes: number;
  /**
   * Whether it takes no new jobs.
   */
  draining: boolean;
  /**
   * Its GPUs.
   */
  gpus: GpuInfo[];
  /**
   * Its machine.
   */
  hostname: string;
  /**
   * The address that it was last connected from.
   */
  ip?: string | null;
  /**
   * Its labels.
   */
  labels: {
    [k: string]: string;
  };
  /**
   * Last heard of, in milliseconds.
   */
  lastSeen: number;
  /**
   * Memory.
   */
  memoryBytes: number;
  /**
   * Operating system.
   */
  os: string;
  /**
   * Jobs now.
   */
  running: number;
  /**
   * Address of its SFTP server, for whoever logs in as `<account>.<jobId>`; absent where it runs none.
   */
  sftp?: string | null;
  /**
   * Jobs at a time.
   */
  slots: number;
  status: WorkerStatus;
  /**
   * The latest usage.
   */
  usage?: Usage | null;
  /**
   * Version of the agent.
   */
  version: string;
  workerId: WorkerId;
}
/**
 * Workers by id.
 */
export interface WorkersReply {
  /**
   * `before` of the next page; null on the last one.
   */
  next?: string | null;
  /**
   * The page.
   */
  workers: WorkerRecord[];
}
/**
 * Reply to `history`: what a worker used within the last hour.
 */
export interface WorkerHistory {
  /**
   * Seconds from one sample to the next, where nothing is missing.
   */
  everySecs: number;
  /**
   * Oldest first, 360 at the most. While nothing was heard of the worker there are none.
   */
  samples: UsageSample[];
  workerId: WorkerId;
}
/**
 * What a worker used at one moment.
 */
export interface UsageSample {
  /**
   * Processors, from 0 to 1 over all of them.
   */
  cpu?: number;
  /**
   * Disk of the workspaces.
   */
  diskBytes?: number;
  /**
   * Each GPU.
   */
  gpus?: GpuUsage[];
  /**
   * Memory.
   */
  memoryBytes?: number;
  /**
   * Received a second.
   */
  networkInBytes?: number;
  /**
   * Sent a second.
   */
  networkOutBytes?: number;
  /**
   * When, in milliseconds.
   */
  time: number;
}
/**
 * Usage of one worker, as it comes in.
 */
export interface UsageEvent {
  /**
   * When, in milliseconds.
   */
  time: number;
  usage: Usage;
  workerId: WorkerId;
}
/**
 * Reply to `create`: it runs.
 */
export interface Created {
  containerId: ContainerId;
  /**
   * How it is reached.
   */
  ports: BoundPort[];
  status: ContainerStatus;
  workerId: WorkerId;
}
/**
 * One container.
 */
export interface ContainerReply {
  container: ContainerRecord;
}
/**
 * What is known of a container.
 */
export interface ContainerRecord {
  /**
   * Whose it is.
   */
  account: string;
  /**
   * The same without a shell.
   */
  args?: string[] | null;
  /**
   * How often it was started.
   */
  attempt: number;
  /**
   * What it runs instead of the image's own program.
   */
  command?: string | null;
  /**
   * The latest start ended.
   */
  completedAt?: number | null;
  containerId: ContainerId;
  /**
   * Processors, if limited.
   */
  cpus?: number | null;
  /**
   * Created, in milliseconds.
   */
  createdAt: number;
  /**
   * What went wrong, in words.
   */
  errorMessage?: string | null;
  /**
   * Exit code of the latest start that has ended.
   */
  exitCode?: number | null;
  /**
   * The GPUs it has.
   */
  gpuIds: number[];
  /**
   * Its image.
   */
  imageId: string;
  /**
   * Memory, if limited.
   */
  memoryBytes?: number | null;
  /**
   * Its volumes.
   */
  mounts: Mount[];
  /**
   * What its owner calls it.
   */
  name?: string | null;
  /**
   * Its short number.
   */
  number: number;
  /**
   * How it is reached.
   */
  ports: BoundPort[];
  /**
   * Why it ended, if it has.
   */
  reason?: Reason | null;
  restart: Restart;
  /**
   * Address of the worker's SFTP server, if it has one.
   */
  sftp?: string | null;
  /**
   * The latest start began.
   */
  startedAt?: number | null;
  status: ContainerStatus;
  /**
   * Whether it has a pseudo-terminal.
   */
  tty: boolean;
  workerId: WorkerId;
}
/**
 * A page of containers.
 */
export interface ContainersReply {
  /**
   * Newest first.
   */
  containers: ContainerRecord[];
  /**
   * `before` of the next page; null on the last one.
   */
  next?: string | null;
}
/**
 * Reply to `follow`.
 */
export interface FollowingConsole {
  containerId: ContainerId;
  from: Cursor;
  status: ContainerStatus;
  top: Cursor;
}
/**
 * A change of status: an entry of a followed console (then it has `at`), or one of `watch`.
 */
export interface ContainerStatusEvent {
  /**
   * Its cursor, in a followed console; absent in `watch`.
   */
  at?: Cursor | null;
  /**
   * How often it was started.
   */
  attempt: number;
  /**
   * In `watch`: the whole record.
   */
  container?: ContainerRecord | null;
  containerId: ContainerId;
  /**
   * Why, where there is a reason.
   */
  reason?: Reason | null;
  status: ContainerStatus;
  /**
   * When, in milliseconds.
   */
  time: number;
  /**
   * Where it is.
   */
  workerId?: WorkerId | null;
}
/**
 * A chunk of a console.
 */
export interface ConsoleOutput {
  at: Cursor;
  /**
   * The bytes, where they are not.
   */
  base64?: string | null;
  containerId: ContainerId;
  /**
   * Raw byte offset within the stream and start.
   */
  offset: number;
  stream: StreamName;
  /**
   * The bytes, where they are text.
   */
  text?: string | null;
  /**
   * When the worker read it, in milliseconds.
   */
  time: number;
}
/**
 * A start is over. Unless the container is `removed`, another may follow.
 */
export interface StartEnded {
  at: Cursor;
  containerId: ContainerId;
  /**
   * In words, where there is more to say.
   */
  errorMessage?: string | null;
  /**
   * Exit code; 128+n where signal n ended the program; null where it never ran.
   */
  exitCode?: number | null;
  reason: Reason;
  status: ContainerStatus;
  /**
   * When, in milliseconds.
   */
  time: number;
}
/**
 * The reader has caught up with a container that runs.
 */
export interface ConsoleLive {
  at: Cursor;
  containerId: ContainerId;
}
/**
 * Entries that are gone, both ends included.
 */
export interface ConsoleTruncated {
  containerId: ContainerId;
  from: Cursor;
  to: Cursor;
}
/**
 * What a container uses, about once a second.
 */
export interface StatsEvent {
  containerId: ContainerId;
  /**
   * Processors: 1.5 is one and a half.
   */
  cpu?: number;
  /**
   * Read from disks a second.
   */
  diskReadBytes?: number;
  /**
   * Written to disks a second.
   */
  diskWriteBytes?: number;
  /**
   * Each of its GPUs, as the worker last saw it; none where it has none, or nothing is known of them.
   */
  gpus?: GpuUsage[];
  /**
   * Memory, without what the system merely caches.
   */
  memoryBytes?: number;
  /**
   * How much of it there may be; 0 where that is not limited.
   */
  memoryLimitBytes?: number;
  /**
   * Received a second.
   */
  networkInBytes?: number;
  /**
   * Sent a second.
   */
  networkOutBytes?: number;
  /**
   * Processes and threads.
   */
  pids?: number;
  /**
   * When, in milliseconds.
   */
  time: number;
}
/**
 * Reply to `history`: what a container used within the last hour.
 */
export interface ContainerHistory {
  containerId: ContainerId;
  /**
   * Seconds from one sample to the next, where nothing is missing.
   */
  everySecs: number;
  /**
   * Oldest first, 360 at the most. While it did not run there are none.
   */
  samples: ContainerSample[];
}
/**
 * What a container used at one moment.
 */
export interface ContainerSample {
  /**
   * Processors: 1.5 is one and a half.
   */
  cpu?: number;
  /**
   * Read from disks a second.
   */
  diskReadBytes?: number;
  /**
   * Written to disks a second.
   */
  diskWriteBytes?: number;
  /**
   * Each of its GPUs, as the worker last saw it; none where it has none, or nothing is known of them.
   */
  gpus?: GpuUsage[];
  /**
   * Memory, without what the system merely caches.
   */
  memoryBytes?: number;
  /**
   * How much of it there may be; 0 where that is not limited.
   */
  memoryLimitBytes?: number;
  /**
   * Received a second.
   */
  networkInBytes?: number;
  /**
   * Sent a second.
   */
  networkOutBytes?: number;
  /**
   * Processes and threads.
   */
  pids?: number;
  /**
   * When, in milliseconds.
   */
  time: number;
}
/**
 * Reply to `container read`.
 */
export interface ConsolePage {
  containerId: ContainerId;
  /**
   * Entries, in order.
   */
  entries: ConsoleEntry[];
  /**
   * Whether there are entries further on in the same direction.
   */
  more: boolean;
  /**
   * Entries that are gone, right before the first of `entries`.
   */
  removed?: Removed | null;
  status: ContainerStatus;
  top: Cursor;
}
/**
 * All plugins of a dispatcher, by name.
 */
export interface PluginsReply {
  /**
   * Those that it was told of, and those that are connected to it.
   */
  plugins: PluginRecord[];
}
/**
 * What is known of a plugin.
 */
export interface PluginRecord {
  /**
   * Questions since the dispatcher started, or, where the settings do not name it, since it connected.
   */
  calls: number;
  /**
   * Whether the settings name it.
   */
  configured: boolean;
  /**
   * Connected since, in milliseconds.
   */
  connectedAt?: number | null;
  /**
   * Events that were dropped.
   */
  dropped: number;
  /**
   * Those of them that had no answer of use.
   */
  failures: number;
  /**
   * What it takes part in: as it registered, and as the settings say.
   */
  hooks: Hook[];
  name: PluginName;
  policy: Policy;
  /**
   * How long it may take for an answer.
   */
  timeoutMs: number;
}
/**
 * `data` of an `error` frame.
 */
export interface WireError {
  code: ErrorCode;
  /**
   * Path of the field at fault, such as `requires.gpus`.
   */
  field?: string | null;
  /**
   * For people.
   */
  message: string;
  /**
   * Whether the same frame can succeed later.
   */
  retry?: boolean;
  /**
   * When a retry makes sense, in milliseconds.
   */
  retryAfterMs?: number | null;
}
/**
 * `assign`: run this.
 */
export interface Assign {
  /**
   * Of a container: it still runs from an earlier start, and is to be taken over as it is.
   */
  adopt?: Adopt | null;
  /**
   * The attempt.
   */
  attempt: number;
  /**
   * The GPUs to give it.
   */
  gpuIds: number[];
  jobId: JobId;
  /**
   * How long the worker owns the job without a heartbeat, in seconds.
   */
  leaseSecs: number;
  spec: JobSpec;
  /**
   * Output bytes that may be under way without an `ack`.
   */
  windowBytes: number;
}
/**
 * A container of an earlier start that still runs and is taken over.
 */
export interface Adopt {
  /**
   * The start whose output was stored last.
   */
  attempt: number;
  /**
   * Bytes of its standard error that are stored.
   */
  stderrBytes: number;
  /**
   * Bytes of its standard output that are stored.
   */
  stdoutBytes: number;
}
/**
 * `ack`: cumulative.
 */
export interface Ack {
  /**
   * The attempt.
   */
  attempt: number;
  jobId: JobId;
  /**
   * Stored up to here.
   */
  n: number;
  /**
   * Everything up to here may be forgotten.
   */
  stable: number;
  /**
   * Output bytes that may be under way beyond `n`.
   */
  windowBytes: number;
}
/**
 * `nack`: a hole; send again from `expect`.
 */
export interface Nack {
  /**
   * The attempt.
   */
  attempt: number;
  /**
   * The entry that is missing.
   */
  expect: number;
  jobId: JobId;
}
/**
 * `cancel` on its way to the worker.
 */
export interface CancelAttempt {
  /**
   * The attempt.
   */
  attempt: number;
  /**
   * Between SIGTERM and SIGKILL, in seconds.
   */
  graceSecs: number;
  jobId: JobId;
}
/**
 * `input` on its way to the worker.
 */
export interface AgentInput {
  /**
   * The attempt.
   */
  attempt: number;
  /**
   * Bytes.
   */
  base64?: string | null;
  /**
   * Whether this is the end of the input.
   */
  eof?: boolean;
  jobId: JobId;
  /**
   * Text.
   */
  text?: string | null;
}
/**
 * `resize` on its way to the worker.
 */
export interface AgentResize {
  /**
   * The attempt.
   */
  attempt: number;
  /**
   * Columns.
   */
  cols: number;
  jobId: JobId;
  /**
   * Rows.
   */
  rows: number;
}
/**
 * Reply to `register`.
 */
export interface Registered {
  /**
   * How often to send a heartbeat, in seconds.
   */
  heartbeatSecs: number;
  /**
   * What to do with each held job.
   */
  resume: ResumeVerdict[];
  workerId: WorkerId;
}
/**
 * What to do with one held job.
 */
export interface ResumeVerdict {
  /**
   * The attempt.
   */
  attempt: number;
  jobId: JobId;
  /**
   * The entry to go on with.
   */
  nextN: number;
  /**
   * The same of its standard error.
   */
  stderrBytes?: number | null;
  /**
   * Of a container: bytes of its standard output that are stored. An agent that was killed goes on after them.
   */
  stdoutBytes?: number | null;
  verdict: Verdict;
}
/**
 * Dispatcher's `heartbeat`: the reply to a worker's.
 */
export interface Lost {
  /**
   * Kill these: they are someone else's now.
   */
  lost: [unknown, unknown][];
}
/**
 * Dispatcher's `sftpLogin`: they may. Where they may not, the answer is an `error`.
 */
export interface SftpGrant {
  /**
   * The account's name.
   */
  account: string;
  jobId: JobId;
}
/**
 * `measure`: say about once a second what a container uses.
 */
export interface MeasureContainer {
  containerId: ContainerId;
  /**
   * For so many seconds. It is asked again while somebody looks.
   */
  secs: number;
}
/**
 * Names a container.
 */
export interface ContainerOnly {
  containerId: ContainerId;
}
/**
 * The reply to `register`.
 */
export interface RegisteredPlugin {
  /**
   * What it takes part in, each once.
   */
  hooks: Hook[];
  name: PluginName;
  /**
   * How long it may take for an answer.
   */
  timeoutMs: number;
}
/**
 * A question: exactly one of `job` and `container` is there.
 */
export interface Call {
  /**
   * Who asks for it.
   */
  account: string;
  /**
   * To be repeated in the answer.
   */
  callId: number;
  /**
   * The container, as it was asked for.
   */
  container?: Create | null;
  /**
   * When the answer must be there, in milliseconds of the server's clock.
   */
  deadlineMs: number;
  hook: Hook;
  /**
   * The job, checked, with a template filled in.
   */
  job?: JobSpec | null;
  /**
   * The asker's idempotency key: the same job may be asked about again.
   */
  key?: string | null;
}
/**
 * Something happened: exactly one of `job`, `container` and `worker` is there.
 */
export interface Event {
  /**
   * The container as it is now.
   */
  container?: ContainerRecord | null;
  /**
   * Events since the one before that were dropped, because the plugin reads too slowly.
   */
  dropped?: number;
  hook: Hook;
  /**
   * The job as it is now.
   */
  job?: JobRecord | null;
  /**
   * When, in milliseconds.
   */
  time: number;
  /**
   * The worker as it is now.
   */
  worker?: WorkerRecord | null;
}
