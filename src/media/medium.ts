import type { MediumContent } from './content.ts';

/**
 * What a disk's bytes are when the host holds them. A medium is either synchronous (files in Node: the machine
 * can run to completion in one call) or asynchronous (networks, browsers: `settleAsync`, `runAsync`). Offsets
 * and lengths are bytes; a medium is told whole sectors only, save for the part of a request that a fault cut
 * short or that the controller's scatter list did not cover.
 *
 * A medium that fails throws, best a MediumError whose `transferred` says how far it came: the guest sees a
 * medium error at that sector, and the message is in `machine.mediaFailures`.
 */
export interface MediumShape {
  /** For messages: a path, a URL. */
  readonly name: string;
  /** Size now, a multiple of the sector. */
  readonly bytes: number;
  readonly readOnly: boolean;
  /** What it keeps in the host's memory, for snapshots; not there where it keeps nothing. */
  readonly content?: MediumContent | undefined;
  /** Makes it `bytes` bytes long, more than it was; the new ones are zeroes. Without it the size is fixed. */
  grow?(bytes: number): void;
  /** Makes it shorter. Without it a disk over it keeps its bytes. */
  shrink?(bytes: number): void;
}

/** Buffers are views of RAM itself: they are valid during the call only. Errors are thrown. */
export interface SyncMedium extends MediumShape {
  readonly sync: true;
  /** Fills the buffers one after the other; returns the bytes read, fewer than asked where the medium ends or fails. */
  readv(offset: number, buffers: readonly Uint8Array[]): number;
  writev(offset: number, buffers: readonly Uint8Array[]): number;
  /** Returns when everything written so far would survive a loss of power. */
  flush(): void;
  /** Deallocates; what is read there afterwards is zero. */
  discard(offset: number, bytes: number): void;
  close(): void;
}

/**
 * Buffers are the machine's own staging memory, untouched until the promise settles. Errors reject. Writes,
 * discards and flushes are asked for one after the other; reads may be in flight beside them.
 */
export interface AsyncMedium extends MediumShape {
  readonly sync: false;
  read(offset: number, buffer: Uint8Array): Promise<number>;
  write(offset: number, buffer: Uint8Array): Promise<number>;
  flush(): Promise<void>;
  discard(offset: number, bytes: number): Promise<void>;
  close(): Promise<void>;
}

export type Medium = SyncMedium | AsyncMedium;
