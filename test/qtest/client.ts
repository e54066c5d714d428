// A client of the server, as device tests have one: it starts the real program, which connects to its two sockets.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../run/suite.ts';

const TIMEOUT_MS = 30_000;

export interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly id?: unknown;
  readonly QMP?: unknown;
}

/** Lines or messages that arrive, for whoever waits for the next. */
class Inbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  }

  take(what: string): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${what} within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
      this.#waiting.push((arrived) => {
        clearTimeout(timer);
        resolve(arrived);
      });
    });
  }
}

/** A number as the protocol's answers have it. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

export class Client {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #qtest: Socket;
  readonly #qmp: Socket;
  readonly #lines = new Inbox<string>();
  readonly #messages = new Inbox<QmpMessage>();
  readonly #events: QmpMessage[] = [];
  /** Inputs of the interrupt controller that are high, as far as the server told. */
  readonly interrupts = new Set<number>();
  /** Every line about interrupts, in order. */
  readonly interruptLines: string[] = [];
  readonly greeting: QmpMessage;

  private constructor(child: ChildProcess, folder: string, qtest: Socket, qmp: Socket, greeting: QmpMessage) {
    this.#child = child;
    this.#folder = folder;
    this.#qtest = qtest;
    this.#qmp = qmp;
    this.greeting = greeting;
  }

  /** Starts the server with `args` and the arguments that every client gives. */
  static async start(args: readonly string[], architecture = 'x86_64'): Promise<Client> {
    const folder = mkdtempSync(join(tmpdir(), 'backplane-qtest-'));
    const [qtestPath, qmpPath] = [join(folder, 'qtest'), join(folder, 'qmp')];
    const [qtestServer, qmpServer] = [await listen(qtestPath), await listen(qmpPath)];
    const child = spawn(
      join(root, 'bin', `backplane-system-${architecture}`),
      [
        ...['-qtest', `unix:${qtestPath}`, '-qtest-log', '/dev/null'],
        ...['-chardev', `socket,path=${qmpPath},id=char0`, '-mon', 'chardev=char0,mode=control'],
        ...['-display', 'none', ...args, '-accel', 'qtest'],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const ended = new Promise<never>((_, reject) => {
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
    const [qtest, qmp] = await Promise.race([Promise.all([accept(qtestServer), accept(qmpServer)]), ended]);
    const first = new Inbox<QmpMessage>();
    let sink: (message: QmpMessage) => void = (message) => first.put(message);
    onLines(qmp, (line) => sink(JSON.parse(line) as QmpMessage));
    const greeting = await first.take('greeting');
    const client = new Client(child, folder, qtest, qmp, greeting);
    sink = (message) => {
      client.#messages.put(message);
    };
    onLines(qtest, (line) => {
      client.#lines.put(line);
    });
    await client.qmp('qmp_capabilities');
    return client;
  }

  // The protocol.

  /** Sends a command; resolves to its answer. */
  async command(line: string): Promise<string> {
    const [answer = ''] = await this.commands([line]);
    return answer;
  }

  /** Sends many at once; resolves to the answers, in order. */
  async commands(lines: readonly string[]): Promise<string[]> {
    this.#qtest.write(`${lines.join('\n')}\n`);
    const answers: string[] = [];
    while (answers.length < lines.length) {
      const line = await this.#lines.take('answer');
      if (!this.#heardInterrupt(line)) answers.push(line);
    }
    return answers;
  }

  #heardInterrupt(line: string): boolean {
    const [, how, input] = /^IRQ (raise|lower) (\d+)$/.exec(line) ?? [];
    if (how === undefined) return false;
    this.interruptLines.push(line);
    if (how === 'raise') this.interrupts.add(Number(input));
    else this.interrupts.delete(Number(input));
    return true;
  }

  async #value(line: string): Promise<number> {
    const answer = await this.command(line);
    if (!answer.startsWith('OK ')) throw new Error(`${line}: ${answer}`);
    return Number(answer.slice(3));
  }

  in(letter: 'b' | 'w' | 'l', port: number): Promise<number> {
    return this.#value(`in${letter} ${hex(port)}`);
  }

  async out(letter: 'b' | 'w' | 'l', port: number, value: number): Promise<void> {
    await this.#done(`out${letter} ${hex(port)} ${hex(value)}`);
  }

  load(letter: 'b' | 'w' | 'l', address: number): Promise<number> {
    return this.#value(`read${letter} ${hex(address)}`);
  }

  async store(letter: 'b' | 'w' | 'l' | 'q', address: number, value: number | bigint): Promise<void> {
    await this.#done(`write${letter} ${hex(address)} ${hex(value)}`);
  }

  async read(address: number, length: number): Promise<Buffer> {
    const answer = await this.command(`read ${hex(address)} ${hex(length)}`);
    return Buffer.from(answer.slice(5), 'hex');
  }

  async write(address: number, bytes: Uint8Array): Promise<void> {
    await this.#done(`write ${hex(address)} ${hex(bytes.length)} 0x${Buffer.from(bytes).toString('hex')}`);
  }

  async #done(line: string): Promise<void> {
    const answer = await this.command(line);
    if (answer !== 'OK') throw new Error(`${line}: ${answer}`);
  }

  // QMP.

  /** Sends a command of QMP; resolves to its answer. Events before it are kept. */
  async qmp(execute: string, args?: Readonly<Record<string, unknown>>): Promise<QmpMessage> {
    this.#qmp.write(`${JSON.stringify({ execute, ...(args === undefined ? {} : { arguments: args }) })}\n`);
    while (true) {
      const message = await this.#messages.take('answer of QMP');
      if (message.event === undefined) return message;
      this.#events.push(message);
    }
  }

  /** The same, for commands that must not fail. */
  async run(execute: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    const message = await this.qmp(execute, args);
    if (message.error !== undefined) throw new Error(`${execute}: ${message.error.desc}`);
    return message.return;
  }

  /** Sends text as it is. */
  sendRaw(text: string): void {
    this.#qmp.write(text);
  }

  nextMessage(): Promise<QmpMessage> {
    return this.#messages.take('message of QMP');
  }

  /** The next event of that name; others before it are dropped. */
  async event(name: string): Promise<Readonly<Record<string, unknown>>> {
    while (true) {
      const message = this.#events.shift() ?? (await this.#messages.take(`event ${name}`));
      if (message.event === name) return message.data ?? {};
    }
  }

  human(line: string): Promise<unknown> {
    return this.run('human-monitor-command', { 'command-line': line });
  }

  /** Ends the server as clients do; resolves to its exit status. */
  async stop(signal: NodeJS.Signals | null = 'SIGTERM'): Promise<number | null> {
    const child = this.#child;
    const ended =
      child.exitCode === null
        ? new Promise<number | null>((resolve) => {
            child.once('exit', (code) => resolve(code));
          })
        : Promise.resolve(child.exitCode);
    if (signal !== null) child.kill(signal);
    const code = await ended;
    this.#qtest.destroy();
    this.#qmp.destroy();
    rmSync(this.#folder, { recursive: true, force: true });
    return code;
  }
}

/** Starts a server, hands it to `use`, and ends it. */
export async function withClient(
  args: readonly string[],
  use: (client: Client) => Promise<void>,
): Promise<void> {
  const client = await Client.start(args);
  try {
    await use(client);
  } finally {
    await client.stop();
  }
}

function listen(path: string): Promise<Server> {
  const server = createServer({ pauseOnConnect: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => resolve(server));
  });
}

function accept(server: Server): Promise<Socket> {
  return new Promise((resolve) => {
    server.once('connection', (socket) => {
      server.close();
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

function onLines(socket: Socket, take: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
  socket.resume();
}
