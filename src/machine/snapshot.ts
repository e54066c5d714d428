// A machine's hardware at one moment: what Machine.save() returns and Machine.restore() takes.

import type { GuardState } from '../guard/index.ts';
import type { ArenaCopy } from './arena.ts';
import type { SavedMedia } from './host-media.ts';
import type { Layout } from './shape.ts';
import { decodeSnapshot, encodeSnapshot } from './snapshot-bytes.ts';

/** Everything that a snapshot holds. Nobody changes any of it. */
export interface SnapshotParts {
  /** Of the build, and of the machine. */
  readonly layout: Layout;
  readonly shape: readonly string[];
  readonly arena: ArenaCopy;
  readonly host: HostParts;
}

/** What the host holds beside the module's memory. */
export interface HostParts {
  /** Ports CF8h: the configuration address. */
  readonly configAddress: number;
  /** Which disk (its index) is at which place of which controller (its index). */
  readonly places: readonly (readonly [controller: number, place: string, disk: number])[];
  readonly guard: GuardState;
  readonly media: SavedMedia;
}

/**
 * The hardware at one moment, commands in flight included: RAM, disks in memory, controllers, interrupts, time, the
 * fault plan, mappings and findings of the guard, and what media keep in the host's memory. Files and networks are not
 * in it: put an overlay over them, or see to it that they do not change. Kernels and drivers are not in it either.
 *
 * A snapshot never changes and may be restored any number of times, into every machine that is made of the same parts
 * by the same build. It shares with others what did not change between them.
 */
export class Snapshot {
  /** For the machine. */
  readonly parts: SnapshotParts;

  constructor(parts: SnapshotParts) {
    this.parts = parts;
  }

  /** As one run of bytes, to be kept or sent; fromBytes() reads them. */
  toBytes(): Uint8Array {
    return encodeSnapshot(this.parts);
  }

  /** Throws SnapshotError unless `bytes` are what toBytes() returned, to the last bit. */
  static fromBytes(bytes: Uint8Array): Snapshot {
    return new Snapshot(decodeSnapshot(bytes));
  }
}
