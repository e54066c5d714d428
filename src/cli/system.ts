// The server `backplane-system-x86_64`, and -i386: connects the protocols of src/qtest/ to sockets, the host's clock and
// files. Exit status: 0 ended by a client or a signal, 1 the command line or an image cannot be, 3 our own fault.

import { appendFileSync, lstatSync, unlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createConnection, createServer, type Socket } from 'node:net';
import { MachineError } from '../machine/index.ts';
import { MediumError } from '../media/index.ts';
import { type CommandLine, type Endpoint, readCommandLine } from '../qtest/command-line.ts';
import { isTypeName } from '../qtest/device-types.ts';
import { QtestError } from '../qtest/errors.ts';
import { serverHelp } from '../qtest/help.ts';
import { packState, unpackState } from '../qtest/migration.ts';
import { QtestSession } from '../qtest/protocol.ts';
import type { MigrationStatus, QmpHost } from '../qtest/qmp/command.ts';
import { QmpSession } from '../qtest/qmp/session.ts';
import { System } from '../qtest/system.ts';
import { EXIT_FAULT, EXIT_FINE } from './errors.ts';
import { oneLine } from './style.ts';

const VERSION = '0.1.0';
const EXIT_REFUSED = 1;
/** What a process that took over the state sends back. */
const TAKEN = 'OK';
/** How long devices that are still at work wait for a client before they go on, in ms. */
const IDLE_MS = 1;
/** How often a server that ends with its parent looks whether it is there, in ms. */
const PARENT_MS = 500;

/** A client's connection, whatever it goes over. */
interface Channel {
  write(text: string): void;
  /** Calls back with what arrives, and when nothing will any more. */
  listen(data: (text: string) => void, end: () => void): void;
}

class Server implements QmpHost {
  readonly system: System;
  readonly #line: CommandLine;
  readonly #qtest: QtestSession;
  readonly #monitors: QmpSession[] = [];
  #qtestChannel: Channel | null = null;
  #open = 0;
  #idle: NodeJS.Timeout | null = null;
  migration: MigrationStatus | null = null;

  constructor(system: System, line: CommandLine) {
    this.system = system;
    this.#line = line;
    this.#qtest = new QtestSession(system);
    system.listener = {
      interrupt: (input, raised) => this.#qtest.interrupt(input, raised),
      event: (name, data) => {
        for (const monitor of this.#monitors) monitor.event(name, data);
      },
    };
  }

  async start(): Promise<void> {
    const { qtest, monitors, incoming } = this.#line;
    if (qtest === null && monitors.length === 0)
      throw new QtestError('nobody is connected: -qtest and -qmp say to whom to speak');
    if (incoming !== null && incoming !== 'defer') this.listenIncoming(incoming);
    this.#openLog();
    if (qtest !== null) this.#serveQtest(await connect(qtest));
    for (const monitor of monitors) this.#serveMonitor(await connect(monitor));
    if (this.#line.endsWithParent) this.#watchParent(process.ppid);
    process.on('SIGTERM', () => this.quit());
    process.on('SIGINT', () => this.quit());
  }

  #openLog(): void {
    const { log } = this.#line;
    try {
      if (log !== null) appendFileSync(log, '');
    } catch (error) {
      throw new QtestError(`-qtest-log ${log}: it cannot be written: ${(error as Error).message}`);
    }
  }

  quit(): void {
    try {
      this.system.close();
    } catch (error) {
      fail(error);
    }
    process.exit(EXIT_FINE);
  }

  #serveQtest(channel: Channel): void {
    this.#open++;
    this.#qtestChannel = channel;
    const { log } = this.#line;
    channel.listen(
      (text) => {
        guarded(() => {
          const answers = this.#qtest.receive(text);
          if (log !== null) appendFileSync(log, `${prefixed('[R] ', text)}${prefixed('[S] ', answers)}`);
          channel.write(answers);
          this.#whenIdle();
        });
      },
      () => this.#closed(),
    );
  }

  #serveMonitor(channel: Channel): void {
    this.#open++;
    const session = new QmpSession(this, { send: (text) => channel.write(text), timestamp });
    this.#monitors.push(session);
    channel.listen(
      (text) => {
        session.receive(text).then(() => this.#tellNews(), fail);
      },
      () => this.#closed(),
    );
  }

  /** Interrupts that came without a command of the protocol. */
  #tellNews(): void {
    const news = this.#qtest.news();
    if (news !== '') this.#qtestChannel?.write(news);
    this.#whenIdle();
  }

  /** Devices that were not done when the last command was answered go on while no other comes. */
  #whenIdle(): void {
    if (this.#idle !== null || !this.system.busy) return;
    this.#idle = setTimeout(() => {
      this.#idle = null;
      guarded(() => {
        this.system.settle();
        this.#tellNews();
      });
    }, IDLE_MS);
  }

  /** A process whose parent ended has another one. */
  #watchParent(parent: number): void {
    setInterval(() => {
      if (process.ppid !== parent) this.quit();
    }, PARENT_MS).unref();
  }

  /** Without clients there is nothing left to do. */
  #closed(): void {
    if (--this.#open === 0) this.quit();
  }

  // Migration.

  migrate(uri: string): void {
    if (this.migration?.status === 'active') throw new QtestError("There's a migration process in progress");
    const path = pathOf(uri);
    const { system } = this;
    const before = system.state;
    const resumes = system.running;
    this.migration = { status: 'active', error: null };
    const socket = createConnection(path);
    const failed = (message: string): void => {
      if (this.migration?.status !== 'active') return;
      this.migration = { status: 'failed', error: message };
      socket.destroy();
      if (system.state !== 'finish-migrate') return;
      void system.graph.takeBack().then(() => {
        system.state = resumes ? 'paused' : before;
        if (resumes) system.resume();
      }, fail);
    };
    socket.on('error', (error) => failed(error.message));
    socket.on('connect', () => {
      guarded(() => {
        system.stop();
        system.state = 'finish-migrate';
        system.graph.giveAway();
        socket.write(packState(system, resumes));
        socket.end();
      });
    });
    socket.on('data', () => {
      this.migration = { status: 'completed', error: null };
      system.state = 'postmigrate';
    });
    socket.on('close', () => failed('the other side did not take the state over'));
  }

  listenIncoming(uri: string): void {
    const path = pathOf(uri);
    // A socket that a process left behind is in the way; a file is somebody's, and listen() says so.
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) unlinkSync(path);
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      server.close();
      const parts: Buffer[] = [];
      socket.on('data', (part: Buffer) => {
        parts.push(part);
      });
      socket.on('end', () => {
        this.#takeOver(socket, Buffer.concat(parts)).catch(fail);
      });
      socket.on('error', fail);
    });
    server.on('error', (error) => fail(new QtestError(`-incoming ${uri}: ${error.message}`)));
    server.listen(path);
  }

  async #takeOver(socket: Socket, bytes: Buffer): Promise<void> {
    const { system } = this;
    const resumes = await unpackState(system, bytes);
    system.state = 'paused';
    if (resumes && !this.#line.paused) system.resume();
    socket.end(TAKEN);
    this.#tellNews();
  }
}

/** The path of `unix:PATH`. Throws QtestError. */
function pathOf(uri: string): string {
  if (uri.startsWith('unix:') && uri.length > 5) return uri.slice(5);
  throw new QtestError(`"${uri}": state goes and comes by unix:PATH only`);
}

function timestamp(): { seconds: number; microseconds: number } {
  const now = Date.now();
  return { seconds: Math.floor(now / 1000), microseconds: (now % 1000) * 1000 };
}

function prefixed(prefix: string, text: string): string {
  return text.replace(/^.+$/gm, `${prefix}$&`).replace(/([^\n])$/, '$1\n');
}

// Channels.

function connect(endpoint: Endpoint): Promise<Channel> {
  if (endpoint.kind === 'stdio') return Promise.resolve(stdio());
  const { path, listen } = endpoint;
  return new Promise((resolve, reject) => {
    const refuse = ({ code, message }: NodeJS.ErrnoException): void => {
      const isAlone = code === 'ENOENT' || code === 'ECONNREFUSED';
      const hint = `nobody listens there; start who does first, or write unix:${path},server=on`;
      reject(new QtestError(`unix:${path}: ${isAlone && !listen ? hint : message}`));
    };
    if (listen) {
      const server = createServer((socket) => {
        server.close();
        resolve(overSocket(socket));
      });
      server.on('error', refuse);
      server.listen(path);
      return;
    }
    const socket = createConnection(path, () => {
      socket.off('error', refuse);
      resolve(overSocket(socket));
    });
    socket.on('error', refuse);
  });
}

function overSocket(socket: Socket): Channel {
  socket.setEncoding('latin1');
  return {
    write: (text) => {
      // A client that sends without reading has to wait.
      if (!socket.write(text, 'latin1')) {
        socket.pause();
        socket.once('drain', () => {
          socket.resume();
        });
      }
    },
    listen: (data, end) => {
      socket.on('data', data);
      socket.on('error', () => {});
      socket.on('close', end);
    },
  };
}

function stdio(): Channel {
  process.stdin.setEncoding('latin1');
  return {
    write: (text) => {
      process.stdout.write(text, 'latin1');
    },
    listen: (data, end) => {
      process.stdin.on('data', data);
      process.stdin.on('end', end);
    },
  };
}

// Failures.

function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    fail(error);
  }
}

/** Says what went wrong, and ends. */
function fail(error: unknown): never {
  const known = error instanceof QtestError || error instanceof MachineError || error instanceof MediumError;
  if (known) {
    process.stderr.write(`${NAME}: ${oneLine(error.message)}\n`);
    process.exit(EXIT_REFUSED);
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`${NAME}: this is our own fault, please report it:\n${text}\n`);
  process.exit(EXIT_FAULT);
}

const [ARCHITECTURE = 'x86_64', ...ARGUMENTS] = process.argv.slice(2);
const NAME = `backplane-system-${ARCHITECTURE}`;

async function main(): Promise<void> {
  const line = readCommandLine(ARGUMENTS);
  if (line.show === 'help') process.stdout.write(serverHelp(NAME));
  else if (line.show === 'version') process.stdout.write(`${NAME} ${VERSION}\n`);
  else {
    const system = await System.create(line, {
      readText: (path) => readFile(path, 'utf8'),
      startSeconds: Math.floor(Date.now() / 1000),
    });
    for (const { type, property } of line.globals)
      if (!isTypeName(type))
        process.stderr.write(
          `${NAME}: -global ${type}.${property} changes nothing: there is no device ${type}\n`,
        );
    await new Server(system, line).start();
  }
}

await main().catch(fail);
