// A disk as the machine holds it: a block in the module that says how large it is and how long it takes, over
// bytes that are in the module's memory or behind the host's Medium.

import {
  DISK_FIRMWARE,
  DISK_FIRMWARE_BYTES,
  DISK_MODEL,
  DISK_MODEL_BYTES,
  DISK_SERIAL,
  DISK_SERIAL_BYTES,
  POLICY_NO_SPACE,
  POLICY_REPORT,
  POLICY_STOP,
} from '../../assembly/media/codes.ts';
import type { Medium, SyncMedium } from '../media/medium.ts';
import type { DirtyPages } from './dirty-pages.ts';
import { MachineError } from './errors.ts';

/** A RAM disk of more bytes lies in the host's memory, which it takes only for what is written. */
export const RAM_DISK_MAX = 512 * 2 ** 20;

export interface DiskOptions extends MediumOptions {
  /**
   * Bytes of a RAM disk, a multiple of the sector. Up to 512 MiB it lies in the module's memory, which is made
   * with room for it (`diskBytes` of the machine); a larger one, of terabytes too, is a `ramMedium()`.
   */
  readonly bytes?: number;
  /** Instead of RAM: bytes that the host holds. */
  readonly medium?: Medium;
  /** 512 (default) or 4096. */
  readonly sectorBytes?: 512 | 4096;
  /** Default: as the medium is; a medium that is read-only cannot be written. */
  readonly readOnly?: boolean;
  /** Whether the disk says that it has a volatile write cache; default true. */
  readonly writeCache?: boolean;
  /** For all that changes the medium, and flushes; default `report`. */
  readonly writeErrors?: ErrorPolicy;
}

/**
 * What becomes of a request that the medium failed. `report`: the guest is told. `stop`: the request waits, and
 * `Machine.advance` comes back with `parked`, until `Machine.retry` has it tried again. `no-space`: that where there was no
 * space, else `report`.
 */
export type ErrorPolicy = 'report' | 'stop' | 'no-space';

/** What disks and drives have in common. */
export interface MediumOptions {
  /** Virtual ns that every request takes; default 10,000. */
  readonly latencyNs?: number;
  /** Virtual picoseconds for each byte moved; default 250 (4 GB/s). */
  readonly picosecondsPerByte?: number;
  /**
   * What the disk calls itself, in printable ASCII: at most 20, 40 and 8 characters. An NVMe controller is called what its
   * first namespace is; SCSI shows the first 16 characters of the model and 4 of the firmware. Default: our own.
   */
  readonly serial?: string;
  readonly model?: string;
  readonly firmware?: string;
  /** For reads and verifies; default `report`. */
  readonly readErrors?: ErrorPolicy;
}

/** Gives the hardware's disk another size; throws MachineError where it cannot. */
export type Resize = (disk: Disk, bytes: number) => void;

// Fields of the Disk class in assembly/media/media.ts.
const DISK_ID = 4;
const DISK_SECTORS = 8;
const DISK_SECTOR_SHIFT = 16;
const DISK_DATA = 20;
const DISK_READ_ONLY = 24;
const DISK_WRITE_CACHE = 28;
const DISK_LATENCY = 32;
const DISK_PICOSECONDS = 40;
const DISK_READS = 44;
const DISK_WRITES = 48;
const DISK_FLUSHES = 52;
const DISK_ERRORS = 56;
const DISK_READ_POLICY = 64;
const DISK_WRITE_POLICY = 68;
const DISK_TEXTS = 96;

const POLICIES: Readonly<Record<ErrorPolicy, number>> = {
  report: POLICY_REPORT,
  stop: POLICY_STOP,
  'no-space': POLICY_NO_SPACE,
};

const TEXTS = [
  { field: 'serial', at: DISK_SERIAL, most: DISK_SERIAL_BYTES },
  { field: 'model', at: DISK_MODEL, most: DISK_MODEL_BYTES },
  { field: 'firmware', at: DISK_FIRMWARE, most: DISK_FIRMWARE_BYTES },
] as const;

/** Throws MachineError for a text that a disk cannot call itself. */
export function checkTexts(options: MediumOptions): void {
  for (const { field, most } of TEXTS) {
    const text = options[field];
    if (text === undefined) continue;
    if (text.length > most)
      throw new MachineError(`${field} has ${text.length} characters; at most ${most} fit`);
    if (!/^[\x20-\x7e]*$/.test(text)) throw new MachineError(`${field} must be printable ASCII`);
  }
}

const DEFAULT_LATENCY_NS = 10_000;
const DEFAULT_PICOSECONDS_PER_BYTE = 250;

export class Disk {
  readonly sectorBytes: number;
  readonly readOnly: boolean;
  /** Offset of the disk's block in the module's memory. */
  readonly offset: number;
  #medium: Medium | null;
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #dirty: DirtyPages;
  readonly #resize: Resize;
  /** Its size when it was made. */
  readonly firstBytes: number;

  constructor(buffer: ArrayBuffer, offset: number, options: DiskOptions, dirty: DirtyPages, resize: Resize) {
    this.#dirty = dirty;
    this.#resize = resize;
    this.offset = offset;
    this.#medium = options.medium ?? null;
    this.#u8 = new Uint8Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.sectorBytes = 1 << this.word(DISK_SECTOR_SHIFT);
    this.firstBytes = this.bytes;
    this.readOnly = (options.readOnly ?? false) || (this.#medium?.readOnly ?? false);
    const latency = options.latencyNs ?? DEFAULT_LATENCY_NS;
    if (!(latency >= 0 && latency < 2 ** 53))
      throw new MachineError(`latencyNs is ${latency}; it must be from 0 to 2^53`);
    this.#u32[(offset + DISK_LATENCY) >>> 2] = latency % 2 ** 32;
    this.#u32[(offset + DISK_LATENCY + 4) >>> 2] = Math.floor(latency / 2 ** 32);
    const picoseconds = options.picosecondsPerByte ?? DEFAULT_PICOSECONDS_PER_BYTE;
    if (!(picoseconds >= 0 && picoseconds < 2 ** 32))
      throw new MachineError(`picosecondsPerByte is ${picoseconds}; it must be from 0 to 2^32`);
    this.#u32[(offset + DISK_PICOSECONDS) >>> 2] = picoseconds;
    for (const { field, at } of TEXTS) {
      const bytes = new TextEncoder().encode(options[field] ?? '');
      this.#u8.set(bytes, (offset >>> 0) + DISK_TEXTS + at);
    }
    this.#u32[(offset + DISK_READ_ONLY) >>> 2] = this.readOnly ? 1 : 0;
    this.#u32[(offset + DISK_WRITE_CACHE) >>> 2] = (options.writeCache ?? true) ? 1 : 0;
    this.#u32[(offset + DISK_READ_POLICY) >>> 2] = POLICIES[options.readErrors ?? 'report'];
    this.#u32[(offset + DISK_WRITE_POLICY) >>> 2] = POLICIES[options.writeErrors ?? 'report'];
  }

  /** The bytes that the host holds; null where they are in the module's memory, or there are none. */
  get medium(): Medium | null {
    return this.#medium;
  }
  protected set medium(medium: Medium | null) {
    this.#medium = medium;
  }

  /** Its size in another state of the module's memory, whose words `word` gives. */
  bytesIn(word: (at: number) => number): number {
    const at = this.offset + DISK_SECTORS;
    return (word(at) + word(at + 4) * 2 ** 32) * this.sectorBytes;
  }

  /** Its size now. */
  get bytes(): number {
    return (this.word(DISK_SECTORS) + this.word(DISK_SECTORS + 4) * 2 ** 32) * this.sectorBytes;
  }

  /**
   * Gives the disk another size, a multiple of the sector, while the machine runs: controllers tell their drivers as their
   * specifications say. New bytes are zeroes. A RAM disk can also shrink; a medium of the host needs to have `grow`.
   * Throws MachineError, or the medium's error, and then nothing has changed.
   */
  resize(bytes: number): void {
    if (bytes !== this.bytes) this.#resize(this, bytes);
  }

  /** The module's number of the disk, 1 and up. */
  get id(): number {
    return this.word(DISK_ID);
  }

  get sectors(): number {
    return this.bytes / this.sectorBytes;
  }

  /** Requests so far, and those that failed. */
  get counters(): { reads: number; writes: number; flushes: number; errors: number } {
    return {
      reads: this.word(DISK_READS),
      writes: this.word(DISK_WRITES),
      flushes: this.word(DISK_FLUSHES),
      errors: this.word(DISK_ERRORS),
    };
  }

  /** A copy of `length` bytes at byte `offset`, behind the controller's back; not of an asynchronous medium. */
  read(offset: number, length: number): Uint8Array {
    this.#check(offset, length);
    const { medium } = this;
    if (medium !== null) {
      const bytes = new Uint8Array(length);
      synchronous(medium).readv(offset, [bytes]);
      return bytes;
    }
    const at = this.word(DISK_DATA) + offset;
    return this.#u8.slice(at, at + length);
  }

  /** Puts bytes at byte `offset`, behind the controller's back; not on an asynchronous medium. */
  write(offset: number, bytes: Uint8Array): void {
    this.#check(offset, bytes.length);
    const { medium } = this;
    if (medium !== null) {
      synchronous(medium).writev(offset, [bytes]);
      return;
    }
    const at = this.word(DISK_DATA) + offset;
    this.#dirty.mark(at, bytes.length);
    this.#u8.set(bytes, at);
  }

  #check(offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && offset + length <= this.bytes) return;
    throw new MachineError(
      `bytes ${offset} to ${offset + length} are not all on the disk of ${this.bytes} bytes`,
    );
  }

  /** A dword of the disk's block. */
  protected word(field: number): number {
    return this.#u32[(this.offset + field) >>> 2] as number;
  }
}

function synchronous(medium: Medium): SyncMedium {
  if (medium.sync) return medium;
  throw new MachineError(`${medium.name}: the medium is asynchronous: read and write it, not the disk`);
}
