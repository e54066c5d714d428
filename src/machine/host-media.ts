// Media that the host holds: answers the module's four imports. A synchronous medium moves bytes straight
// between itself and the RAM that the controller's scatter list names; an asynchronous one goes through a
// staging buffer: reads are fetched at submission and copied when they are due, writes are gathered when they
// are due and end when the medium has them.

import { AT_RUNS, RUN_STRIDE } from '../../assembly/bus/layout.ts';
import {
  MEDIA_DISCARD,
  MEDIA_ERROR,
  MEDIA_FLUSH,
  MEDIA_OK,
  MEDIA_PENDING,
  MEDIA_READ,
  MEDIA_WRITE,
  MEDIA_ZERO,
} from '../../assembly/media/codes.ts';
import type { AsyncMedium, Medium, SyncMedium } from '../media/medium.ts';
import type { MediaImports } from './module.ts';

interface Held {
  readonly medium: Medium;
  readonly sectorBytes: number;
}

/** What a request that the module began is doing. */
interface Open {
  readonly held: Held;
  readonly operation: number;
  /** First byte on the medium, and bytes. */
  readonly offset: number;
  readonly bytes: number;
  /** Asynchronous media only. */
  staging: Uint8Array | null;
  /** Bytes that the medium gave or took. */
  good: number;
  dropped: boolean;
}

const NONE = -1;
const TWO_32 = 2 ** 32;

export class HostMedia {
  readonly imports: MediaImports;
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #ready: (request: number, failedAt: number) => void;
  readonly #held = new Map<number, Held>();
  readonly #open = new Map<number, Open>();
  readonly #views: Uint8Array[] = [];
  readonly #failures: string[] = [];
  #wake: (() => void) | null = null;
  #settled = 0;

  constructor(buffer: ArrayBuffer, ready: (request: number, failedAt: number) => void) {
    this.#u8 = new Uint8Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#ready = ready;
    this.imports = {
      mediaStart: (disk, request, operation, low, high, sectors) =>
        this.#start(disk, request, operation, (high >>> 0) * TWO_32 + (low >>> 0), sectors),
      mediaTransfer: (_disk, request, low, high, _bytes, runs, toMemory) =>
        this.#transfer(request, (high >>> 0) * TWO_32 + (low >>> 0), runs, toMemory !== 0),
      mediaFinish: (_disk, request) => this.#finish(request),
      mediaDrop: (_disk, request) => this.#drop(request),
    };
  }

  add(disk: number, medium: Medium, sectorBytes: number): void {
    this.#held.set(disk, { medium, sectorBytes });
  }

  /** What media said when they failed, in order: the devices report no more than a medium error. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  /** Resolves when some medium has answered since the last call. */
  async wait(): Promise<void> {
    if (this.#settled > 0) {
      this.#settled = 0;
      return;
    }
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#settled = 0;
  }

  #start(disk: number, request: number, operation: number, sector: number, sectors: number): number {
    const held = this.#held.get(disk);
    if (held === undefined) return 0;
    const { sectorBytes, medium } = held;
    const bytes = (sectors >>> 0) * sectorBytes;
    const open: Open = {
      held,
      operation,
      offset: sector * sectorBytes,
      bytes,
      staging: null,
      good: bytes,
      dropped: false,
    };
    this.#open.set(request, open);
    if (medium.sync) return 0;
    if (operation === MEDIA_READ || operation === MEDIA_WRITE) open.staging = new Uint8Array(bytes);
    if (operation !== MEDIA_READ || open.staging === null) return 0;
    const { staging } = open;
    this.#settle(request, open, async () => {
      open.good = await medium.read(open.offset, staging);
      return open.good < bytes ? open.good : NONE;
    });
    return 1;
  }

  /** Runs `work` and tells the module of its end; it resolves to the byte that failed, or NONE. */
  #settle(request: number, open: Open, work: () => Promise<number>): void {
    const end = (failedAt: number): void => {
      if (!open.dropped) this.#ready(request, failedAt);
      this.#settled++;
      this.#wake?.();
      this.#wake = null;
    };
    work().then(end, (error: unknown) => {
      this.#note(open, error);
      open.good = 0;
      end(0);
    });
  }

  #transfer(request: number, offset: number, runs: number, toMemory: boolean): number {
    const open = this.#open.get(request);
    if (open === undefined) return 0;
    const { medium } = open.held;
    if (open.staging !== null) return this.#stage(open.staging, open.good, offset, runs, toMemory);
    if (!medium.sync) return 0;
    try {
      const views = this.#viewsOf(runs);
      const at = open.offset + offset;
      return toMemory ? medium.readv(at, views) : medium.writev(at, views);
    } catch (error) {
      this.#note(open, error);
      return 0;
    } finally {
      this.#views.length = 0;
    }
  }

  #viewsOf(runs: number): Uint8Array[] {
    for (let i = 0; i < runs; i++) {
      const at = this.#word(AT_RUNS + i * RUN_STRIDE);
      const bytes = this.#word(AT_RUNS + i * RUN_STRIDE + 4);
      if (bytes > 0) this.#views.push(this.#u8.subarray(at, at + bytes));
    }
    return this.#views;
  }

  /** Copies between the staging buffer and the run list; bytes that the medium did not give are not moved. */
  #stage(staging: Uint8Array, good: number, offset: number, runs: number, toMemory: boolean): number {
    let moved = 0;
    for (let i = 0; i < runs; i++) {
      const at = this.#word(AT_RUNS + i * RUN_STRIDE);
      const bytes = Math.min(this.#word(AT_RUNS + i * RUN_STRIDE + 4), Math.max(0, good - offset - moved));
      const from = offset + moved;
      if (toMemory) this.#u8.set(staging.subarray(from, from + bytes), at);
      else staging.set(this.#u8.subarray(at, at + bytes), from);
      moved += bytes;
    }
    return moved;
  }

  #finish(request: number): number {
    const open = this.#open.get(request);
    if (open === undefined) return MEDIA_ERROR;
    const { medium } = open.held;
    if (medium.sync) {
      this.#open.delete(request);
      return this.#finishNow(medium, open);
    }
    if (open.operation === MEDIA_READ) {
      this.#open.delete(request);
      return MEDIA_OK;
    }
    this.#settle(request, open, async () => {
      const failedAt = await finishLater(medium, open);
      this.#open.delete(request);
      return failedAt;
    });
    return MEDIA_PENDING;
  }

  #finishNow(medium: SyncMedium, open: Open): number {
    try {
      if (open.operation === MEDIA_FLUSH) medium.flush();
      else if (open.operation === MEDIA_DISCARD || open.operation === MEDIA_ZERO) {
        medium.discard(open.offset, open.bytes);
      }
      return MEDIA_OK;
    } catch (error) {
      this.#note(open, error);
      return MEDIA_ERROR;
    }
  }

  #drop(request: number): void {
    const open = this.#open.get(request);
    if (open === undefined) return;
    open.dropped = true;
    this.#open.delete(request);
  }

  #note(open: Open, error: unknown): void {
    this.#failures.push(
      `${open.held.medium.name}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }

  #word(at: number): number {
    return this.#u32[at >>> 2] as number;
  }
}

async function finishLater(medium: AsyncMedium, open: Open): Promise<number> {
  if (open.operation === MEDIA_FLUSH) await medium.flush();
  else if (open.operation === MEDIA_DISCARD || open.operation === MEDIA_ZERO) {
    await medium.discard(open.offset, open.bytes);
  } else if (open.staging !== null) {
    const written = await medium.write(open.offset, open.staging);
    if (written < open.bytes) return written;
  }
  return NONE;
}
