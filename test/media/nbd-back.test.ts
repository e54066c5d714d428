// A server that goes away is asked for again, and a disk on it goes on behind a controller.

import { join } from 'node:path';
import { createController } from '../../src/embed/index.ts';
import { loadModule } from '../../src/machine/index.ts';
import { type AsyncMedium, MediumError, openNbd } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { scratchFolder } from './help.ts';
import { type Request, type ScriptedServer, serveAt, simpleReply } from './nbd-server.ts';

const test = suite('media: nbd server that comes back');
const folder = scratchFolder();
const BYTES = 1 << 20;
const READ = 0;
const FLUSH = 3;

let sockets = 0;

/** A server at a place of its own that can go and come back; it holds its bytes meanwhile. */
class Place {
  readonly path = join(folder, `back-${sockets++}.sock`);
  readonly content = Buffer.alloc(BYTES);
  server: ScriptedServer | null = null;

  async start(bytes = BYTES): Promise<ScriptedServer> {
    const request = (asked: Request, socket: { write(bytes: Buffer): unknown }): void => {
      const { command, offset, length, data } = asked;
      if (data.length > 0) data.copy(this.content, offset);
      const read = command === READ ? this.content.subarray(offset, offset + length) : Buffer.alloc(0);
      socket.write(simpleReply(asked, 0, Buffer.from(read)));
    };
    this.server = await serveAt(this.path, { bytes, request });
    return this.server;
  }

  stop(): void {
    this.server?.close();
  }
}

async function withDisk(work: (medium: AsyncMedium, place: Place) => Promise<void>): Promise<void> {
  const place = new Place();
  const { uri } = await place.start();
  const medium = await openNbd(uri);
  try {
    await work(medium, place);
  } finally {
    await medium.close();
    place.stop();
  }
}

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof MediumError) return error.message;
    throw error;
  }
  return 'it did not fail';
}

/** Lets the connection's end arrive. */
const moment = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 20);
  });

test('requests fail while the server is away, and go on when it is back', () =>
  withDisk(async (medium, place) => {
    await medium.write(512, new Uint8Array(512).fill(7));
    await medium.flush();
    place.stop();
    await moment();
    assert.match(
      await failure(medium.read(512, new Uint8Array(512))),
      /there is no such socket|no server listens/,
    );
    await place.start();
    const buffer = new Uint8Array(512);
    assert.is(await medium.read(512, buffer), 512);
    assert.is(buffer[511], 7);
    await medium.flush();
  }));

test('several requests ask for the server once', () =>
  withDisk(async (medium, place) => {
    place.stop();
    await moment();
    const { requests } = await place.start();
    const buffers = [0, 1, 2, 3].map(() => new Uint8Array(512));
    await Promise.all(buffers.map((buffer, i) => medium.read(i * 512, buffer)));
    assert.is(requests.length, 4);
    place.stop(); // one connection: a second would be open still
    await moment();
    assert.match(await failure(medium.flush()), /there is no such socket|no server listens/);
  }));

test('a flush says once that writes may be lost which were not flushed before', () =>
  withDisk(async (medium, place) => {
    await medium.write(0, new Uint8Array(512).fill(1));
    place.stop();
    await moment();
    const { requests } = await place.start();
    assert.match(
      await failure(medium.flush()),
      /went away with writes that were not flushed; they may be lost/,
    );
    await medium.flush();
    assert.equal(
      requests.map(({ command }) => command),
      [FLUSH],
    );
  }));

test('another disk at the same place is not taken for the one that was there', () =>
  withDisk(async (medium, place) => {
    place.stop();
    await moment();
    await place.start(BYTES / 2);
    const message = /the server is back with another disk, of 524288 bytes instead of 1048576/;
    assert.match(await failure(medium.read(0, new Uint8Array(512))), message);
    place.stop();
    await moment();
    await place.start();
    assert.is(await medium.read(0, new Uint8Array(512)), 512);
  }));

test('a controller reports errors while the server is away, and reads again afterwards', () =>
  withDisk(async (medium, place) => {
    place.content.fill(0x5a, 0, 512);
    const ram = new Uint8Array(1 << 20);
    const board = await createController({
      kind: 'aha1542',
      profile: 'aha1542b',
      media: medium,
      dma: ram,
      wasm: await loadModule(),
    });
    const waitFor = (bits: number, value: number): void => {
      while ((board.portRead(0x330, 1) & bits) !== value) board.advance(1000);
    };
    const command = async (...bytes: number[]): Promise<void> => {
      for (const byte of bytes) {
        waitFor(0x08, 0); // the byte before was taken
        board.portWrite(0x331, 1, byte);
      }
      while (board.poll() === 0) {
        board.advance(1000);
        if (board.pendingMedia > 0) await board.waitMedia();
      }
      board.portWrite(0x330, 1, 0x20);
    };
    /** READ(6) of sector 0 to 3000h: the target's status. */
    const read = async (): Promise<number> => {
      ram.set([0, 0, 6, 1, 0, 2, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0, 0, 0, 1, 0], 0x2000);
      ram.set([1, 0, 0x20, 0, 0], 0x1000);
      await command(0x02);
      return ram[0x200f] ?? -1;
    };
    board.portWrite(0x330, 1, 0x80);
    waitFor(0x10, 0x10);
    await command(0x01, 1, 0, 0x10, 0);
    assert.is(await read(), 2, 'a target that was reset says so once');
    assert.is(await read(), 0);
    assert.is(ram[0x31ff], 0x5a);
    place.stop();
    await moment();
    assert.is(await read(), 2, 'CHECK CONDITION');
    await place.start();
    ram.fill(0, 0x3000, 0x3200);
    assert.is(await read(), 0);
    assert.is(ram[0x31ff], 0x5a);
    await board.close();
  }));
