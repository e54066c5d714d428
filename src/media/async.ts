// Asynchronous media out of what one has: a synchronous medium that takes its time, an object with promises.

import { MediumError } from './error.ts';
import type { AsyncMedium, SyncMedium } from './medium.ts';

export type AsyncOperation = 'read' | 'write' | 'flush' | 'discard';

export interface AsyncMediumOptions {
  /** Awaited before each operation: a timer, or a test's own switch. What it rejects with fails the operation. */
  readonly delay?: (operation: AsyncOperation, offset: number, bytes: number) => Promise<unknown>;
}

/** A synchronous medium behind the asynchronous contract. Closing it closes that. */
export function asyncMedium(medium: SyncMedium, options: AsyncMediumOptions = {}): AsyncMedium {
  const { delay = () => Promise.resolve() } = options;
  const { name, readOnly, content } = medium;
  // What waits while the content is put back must change nothing any more.
  let era = 0;
  const wait: typeof delay = async (...operation) => {
    const before = era;
    await delay(...operation);
    if (before !== era) throw new MediumError(`${name}: its content was put back`, 'failed');
  };
  return {
    sync: false,
    name,
    get bytes() {
      return medium.bytes;
    },
    readOnly,
    content: content && {
      capture: () => content.capture(),
      accept: (state) => content.accept(state),
      revert: (state) => {
        era++;
        content.revert(state);
      },
    },
    ...(medium.grow === undefined ? {} : { grow: (bytes: number) => medium.grow?.(bytes) }),
    async read(offset, buffer) {
      await wait('read', offset, buffer.length);
      return medium.readv(offset, [buffer]);
    },
    async write(offset, buffer) {
      await wait('write', offset, buffer.length);
      return medium.writev(offset, [buffer]);
    },
    async flush() {
      await wait('flush', 0, 0);
      medium.flush();
    },
    async discard(offset, length) {
      await wait('discard', offset, length);
      medium.discard(offset, length);
    },
    async close() {
      medium.close();
    },
  };
}

/** What fromPromises() takes: as little as a name, a size and a way to read. */
export interface PromisedMedium {
  readonly name: string;
  readonly bytes: number;
  /** Fills the buffer from byte `offset` on; resolves to the bytes read. */
  read(offset: number, buffer: Uint8Array): Promise<number>;
  /** Without it the medium is read-only. */
  write?(offset: number, buffer: Uint8Array): Promise<number>;
  flush?(): Promise<void>;
  /** Without it zeroes are written. */
  discard?(offset: number, bytes: number): Promise<void>;
  close?(): Promise<void>;
}

const ZEROES_BYTES = 65536;

/** A medium over an object's own promises: a network, a browser's file handle. */
export function fromPromises(source: PromisedMedium): AsyncMedium {
  const { name, bytes } = source;
  const write = (offset: number, buffer: Uint8Array): Promise<number> => {
    if (source.write === undefined) throw new MediumError(`${name}: it is read-only`, 'read-only');
    return source.write(offset, buffer);
  };
  return {
    sync: false,
    name,
    bytes,
    readOnly: source.write === undefined,
    read: async (offset, buffer) => source.read(offset, buffer),
    write: async (offset, buffer) => write(offset, buffer),
    async flush() {
      await source.flush?.();
    },
    async discard(offset, length) {
      if (source.discard !== undefined) return source.discard(offset, length);
      const zeroes = new Uint8Array(Math.min(length, ZEROES_BYTES));
      for (let done = 0; done < length; ) {
        const part = zeroes.subarray(0, length - done);
        const n = await write(offset + done, part);
        done += n;
        if (n < part.length) {
          throw new MediumError(`${name}: zeroes end at byte ${offset + done}`, 'failed', {
            transferred: done,
          });
        }
      }
    },
    async close() {
      await source.close?.();
    },
  };
}
