// One kernel under comparison: its machine, its process with three buffers, and what it promises.

import { PAGE_SIZE } from '../kernel/index.ts';
import { type Controller, type Disk, Machine } from '../machine/index.ts';
import type { KernelFigures } from './compare.ts';
import type { Model } from './compare-model.ts';
import type { Harness, HarnessOptions, Placement, UserBuffer } from './kernel.ts';
import { Observer } from './observe.ts';
import {
  BUFFER_PAGES,
  READ_ONLY_PAGES,
  READABLE,
  type Stretch,
  type TransferOperation,
  touched,
  WRITABLE,
} from './workload.ts';

const MIB = 2 ** 20;

/** Why a request fails: the process's memory, the medium, or sectors beyond the end of the disk. */
export type Reason = 'memory' | 'medium' | 'end';

/** A kernel, and where it may differ from others. */
export interface ComparedKernel {
  readonly name: string;
  readonly boot: (options: HarnessOptions) => Harness;
  /** What transfer() may return, by reason. */
  readonly results: Readonly<Record<Reason, readonly number[]>>;
  /**
   * How a request proceeds that fails for the process's memory or the end of the disk. `whole`: not at all.
   * `piecewise`: what comes before may have been moved.
   */
  readonly progress: 'whole' | 'piecewise';
  /** Whether what fails without sense data is tried again, so that a fault that passes may not be seen. */
  readonly triesAgain: boolean;
}

export interface SideOptions {
  readonly module: WebAssembly.Module;
  readonly controller: string;
  readonly seed: number;
  readonly diskBytes: number;
}

export class Side {
  readonly kernel: ComparedKernel;
  readonly machine: Machine;
  readonly controller: Controller;
  readonly disk: Disk;
  readonly harness: Harness;
  /** Requests that failed after a part of them was done. */
  partial = 0;
  #buffers: readonly UserBuffer[] = [];
  #observer: Observer | null = null;

  constructor(kernel: ComparedKernel, { module, controller, seed, diskBytes }: SideOptions) {
    this.kernel = kernel;
    this.machine = new Machine(module, { ram: 'default', diskBytes: diskBytes + MIB, guard: true });
    this.controller = this.machine.addController({ kind: controller });
    this.disk = this.machine.addDisk({ bytes: diskBytes });
    this.controller.attach(this.disk, 0);
    const { machine, disk } = this;
    this.harness = kernel.boot({ machine, controller: this.controller, disk, seed, bounce: true });
  }

  /** Gives the disk and the process what the model has. The driver is attached. */
  begin({ disk, memory, bad }: Model): void {
    this.disk.write(0, disk);
    for (const stretch of bad) this.machine.addFault({ disk: this.disk, kind: 'error', ...stretch });
    const { regions } = this.machine.memory;
    const placements: readonly Placement[] = [
      { from: regions.at(-1)?.base ?? 0, scatter: true }, // beyond the reach of the narrow ones
      { below: 16 * MIB, scatter: true },
      { from: 16 * MIB, below: 2 ** 32, scatter: false }, // so that pages are joined, up to some boundary
    ];
    this.#buffers = memory.map((bytes, i) => {
      const buffer = this.harness.allocate(BUFFER_PAGES * PAGE_SIZE, placements[i % placements.length] ?? {});
      this.harness.store(buffer.address, bytes.subarray(0, READABLE));
      this.harness.protect(buffer.address + WRITABLE, READ_ONLY_PAGES * PAGE_SIZE, 'reading');
      this.harness.protect(buffer.address + READABLE, buffer.bytes - READABLE, 'nothing');
      return buffer;
    });
    this.#observer = new Observer(this.machine, this.controller);
  }

  /** Ends the counting. */
  stop(): void {
    this.#observer?.stop();
  }

  /** What was counted between begin() and stop(). */
  figures(): KernelFigures {
    return {
      kernel: this.kernel.name,
      pinnedPages: this.#observer?.pinned ?? 0,
      copies: this.#observer?.copies ?? 0,
      copiedBytes: this.#observer?.copiedBytes ?? 0,
      segments: this.#observer?.segments ?? 0,
      commands: this.#observer?.commands ?? 0,
      interrupts: this.#observer?.interrupts ?? 0,
      partial: this.partial,
    };
  }

  store(buffer: number, { at, bytes }: Stretch, from: Uint8Array): void {
    this.harness.store(this.#address(buffer) + at, from.subarray(at, at + bytes));
  }

  load(buffer: number, { at, bytes }: Stretch): Uint8Array {
    const into = new Uint8Array(bytes);
    this.harness.load(this.#address(buffer) + at, into);
    return into;
  }

  /** Does a request, in pieces if the kernel takes no more; what the first that fails returned, or 0. */
  async transfer(operation: TransferOperation): Promise<number> {
    const { op, buffer, fault, through } = operation;
    if (fault !== null) {
      this.machine.addFault({ disk: this.disk, kind: 'error', first: fault, last: fault, times: 1 });
    }
    const base = this.#address(buffer);
    let { sector } = operation;
    for (const piece of this.#pieces(operation)) {
      const sectors = piece.reduce((sum, { bytes }) => sum + bytes, 0) / this.disk.sectorBytes;
      const ranges = piece.map(({ at, bytes }) => ({ address: base + at, bytes }));
      const result = await this.harness.transfer({ direction: op, sector, sectors, through, ranges });
      if (result !== 0) return result;
      sector += sectors;
    }
    return 0;
  }

  /** The memory of a request, as much at a time as the kernel takes. */
  #pieces({ sectors, ranges }: TransferOperation): (readonly Stretch[])[] {
    const most = this.harness.maxRequestBytes;
    const pages = Math.max(1, Math.floor(most / PAGE_SIZE));
    if (sectors * this.disk.sectorBytes <= most && touched(ranges) <= pages) return [ranges];
    const chunk = (pages - 1) * PAGE_SIZE; // which may begin inside a page
    return ranges.flatMap(({ at, bytes }) =>
      Array.from({ length: Math.ceil(bytes / chunk) }, (_, i) => [
        { at: at + i * chunk, bytes: Math.min(chunk, bytes - i * chunk) },
      ]),
    );
  }

  #address(buffer: number): number {
    return (this.#buffers[buffer] as UserBuffer).address; // the workload has as many as the model
  }
}
