// A disk on an NBD server that goes away in the middle of the guest's work and comes back: errors meanwhile, and a
// driver that goes on.

import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Medium, openNbd } from '../../src/media/index.ts';
import { type Request, type ScriptedServer, serveAt, simpleReply } from '../media/nbd-server.ts';
import { type Bench, DISK_BYTES, endOfWork, node, probe, StepFailure, shell, startWork } from './bench.ts';

const [READ, WRITE] = [0, 1];
/** Requests that are answered before the server goes away in the middle of one. */
const ANSWERED = 200;
/** What a kernel that was brought down says. */
const BROKEN = /\b(?:BUG|Oops|Call Trace|blocked for more than|general protection)\b/;

/** A server with the content of a disk, which outlives it. */
class VanishingServer {
  readonly #path = join(tmpdir(), `backplane-guest-${process.pid}.sock`);
  readonly #content = Buffer.alloc(DISK_BYTES);
  #server: ScriptedServer | null = null;
  /** Requests that are still answered; the next one is not. */
  #left = Number.POSITIVE_INFINITY;

  async start(): Promise<string> {
    this.#left = Number.POSITIVE_INFINITY;
    rmSync(this.#path, { force: true });
    this.#server = await serveAt(this.#path, {
      bytes: DISK_BYTES,
      request: (request, socket) => {
        if (this.#left-- > 0) socket.write(this.#answer(request));
        else this.stop();
      },
    });
    return this.#server.uri;
  }

  /** Closes its connections in the middle of the request that comes after `answered` others. */
  vanishAfter(answered: number): void {
    this.#left = answered;
  }

  get isThere(): boolean {
    return this.#server !== null;
  }

  stop(): void {
    this.#server?.close();
    this.#server = null;
    rmSync(this.#path, { force: true });
  }

  #answer(request: Request): Buffer {
    const { command, offset, length, data } = request;
    if (command === WRITE) data.copy(this.#content, offset);
    const read = command === READ ? this.#content.subarray(offset, offset + length) : Buffer.alloc(0);
    return simpleReply(request, 0, read);
  }
}

/** `boot` makes the guest with the medium behind its controller, and waits for its shell. */
export async function serverVanishes(boot: (medium: Medium) => Promise<Bench>): Promise<void> {
  const server = new VanishingServer();
  const medium = await openNbd(await server.start());
  try {
    const bench = await boot(medium);
    await probe(bench);
    await fill(bench);
    await loseServer(bench, server);
    await server.start();
    await goOn(bench);
    await bench.guest.close();
  } finally {
    await medium.close();
    server.stop();
  }
}

const transfer = (from: string, to: string, flag: string): string =>
  `dd if=${from} of=${to} bs=16k count=128 ${flag}=direct`;

async function fill(bench: Bench): Promise<void> {
  await shell(bench, 'dd if=/dev/urandom of=/tmp/pattern bs=16k count=128');
  await shell(bench, transfer('/tmp/pattern', node(bench), 'oflag'));
}

/** The guest reads and writes when the server goes: it sees an I/O error, and so do later reads. */
async function loseServer(bench: Bench, server: VanishingServer): Promise<void> {
  const [read, write] = [
    transfer(node(bench), '/dev/null', 'iflag'),
    transfer('/tmp/pattern', node(bench), 'oflag'),
  ];
  await startWork(bench, `while ${read} && ${write}; do :; done`);
  server.vanishAfter(ANSWERED);
  const work = await endOfWork(bench);
  if (server.isThere) throw new StepFailure('the guest stopped before the server did');
  for (const said of [work, await shell(bench, read, 1)]) {
    if (!/Input\/output error|No data available/.test(said))
      throw new StepFailure(`without a server, not an I/O error: ${said}`);
  }
}

/** Everything is as it was, and can be written. The first flush says that writes may be lost, which is true. */
async function goOn(bench: Bench): Promise<void> {
  await shell(bench, `${transfer(node(bench), '/tmp/back', 'iflag')} && cmp /tmp/pattern /tmp/back`);
  await bench.guest.run(`dd if=/tmp/pattern of=${node(bench)} bs=16k conv=fsync`);
  await shell(bench, 'dd if=/dev/urandom of=/tmp/pattern bs=16k count=128');
  await shell(bench, `dd if=/tmp/pattern of=${node(bench)} bs=16k conv=fsync`);
  await shell(bench, `${transfer(node(bench), '/tmp/back', 'iflag')} && cmp /tmp/pattern /tmp/back`);
  const said = await shell(bench, 'dmesg');
  if (BROKEN.test(said)) throw new StepFailure(`the guest did not take it well:\n${said}`);
}
