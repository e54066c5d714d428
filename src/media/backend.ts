// Where an image format keeps its bytes: something that can be read and written anywhere, and grows.

import { lengthOf } from './buffers.ts';
import { MediumError } from './error.ts';

export interface Backend {
  /** For messages: a path. */
  readonly name: string;
  readonly readOnly: boolean;
  size(): number;
  /** Fills the buffers one after the other; returns the bytes read, fewer than asked at the end. */
  readv(offset: number, buffers: readonly Uint8Array[]): number;
  /** Writes all of it, or throws; writing behind the end makes it longer, with zeroes between. */
  writev(offset: number, buffers: readonly Uint8Array[]): void;
  /** Returns when everything written so far would survive a loss of power. */
  flush(): void;
  close(): void;
}

export interface BytesBackend extends Backend {
  /** A copy of what is there now. */
  bytes(): Uint8Array;
}

export interface BytesOptions {
  readonly name?: string;
  readonly readOnly?: boolean;
}

const LEAST_ROOM = 65536;
const MOST_BYTES = 2 ** 31;

/** An image in the host's memory: for browsers, and for tests. The bytes are copied; the image ends below 2 GiB. */
export function bytesBackend(
  initial: Uint8Array = new Uint8Array(0),
  options: BytesOptions = {},
): BytesBackend {
  const { name = 'bytes', readOnly = false } = options;
  let data = initial.slice();
  let length = data.length;
  const grow = (to: number): void => {
    if (to > MOST_BYTES) throw new MediumError(`${name}: no room for byte ${to} in memory`, 'no-space');
    if (to > data.length) {
      const larger = new Uint8Array(Math.min(MOST_BYTES, Math.max(to, 2 * data.length, LEAST_ROOM)));
      larger.set(data);
      data = larger;
    }
    length = Math.max(length, to);
  };
  return {
    name,
    readOnly,
    size: () => length,
    readv(offset, buffers) {
      let at = offset;
      for (const buffer of buffers) {
        const piece = data.subarray(Math.min(at, length), Math.min(length, at + buffer.length));
        buffer.set(piece);
        at += piece.length;
      }
      return at - offset;
    },
    writev(offset, buffers) {
      if (readOnly) throw new MediumError(`${name}: it is read-only`, 'read-only');
      grow(offset + lengthOf(buffers));
      let at = offset;
      for (const buffer of buffers) {
        data.set(buffer, at);
        at += buffer.length;
      }
    },
    flush: () => {},
    close: () => {},
    bytes: () => data.slice(0, length),
  };
}
