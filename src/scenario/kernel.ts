// What a scenario needs of a kernel: a process with memory, and its requests to a disk. One file a kernel
// beside this one implements it (linux.ts, solaris.ts); process.ts has what they share.

import type { Driver, DriverHost } from '../drivers/index.ts';
import type { Controller, Disk, Machine } from '../machine/index.ts';

export interface HarnessOptions {
  readonly machine: Machine;
  readonly controller: Controller;
  readonly disk: Disk;
  readonly seed: number;
  /** False: the driver forgets to bounce and cuts addresses to the width of its descriptors. */
  readonly bounce: boolean;
  /** Attaches the driver; default: ours for the controller. */
  readonly attach?: (host: DriverHost) => Driver;
}

/** Where the pages of a buffer come from. */
export interface Placement {
  /** Lowest physical address, and the address that no byte may reach. */
  readonly from?: number;
  readonly below?: number;
  /** True: anywhere there; false: one behind the other, as far as they are free; default: as the kernel does. */
  readonly scatter?: boolean;
}

/** Memory of a process: virtually contiguous, its pages where the placement put them. */
export interface UserBuffer {
  /** User address of the first byte, page aligned. */
  readonly address: number;
  readonly bytes: number;
  /** Physical addresses of its pages, in order. */
  readonly pages: readonly number[];
}

/** One stretch of user memory. */
export interface UserRange {
  readonly address: number;
  readonly bytes: number;
}

export interface Transfer {
  readonly direction: 'read' | 'write';
  /** In sectors of the disk. */
  readonly sector: number;
  readonly sectors: number;
  readonly ranges: readonly UserRange[];
  /** Where a kernel has several ways (Solaris): which one; default its first. */
  readonly through?: Way;
}

/** How a process's memory gets to a driver on Solaris: bufs of locked memory, or read(2) and write(2) of a raw disk. */
export type Way = 'ddi_umem_iosetup' | 'physio';

/**
 * A booted kernel with one process; attach() comes before the first request. What may wait for a disk is
 * asynchronous, because the disk's medium may be.
 */
export interface Harness {
  /** Most bytes that one request may carry, whatever its memory looks like. */
  readonly maxRequestBytes: number;
  /** Attaches the driver to the controller. Throws MachineError when it finds no disk. */
  attach(): Promise<void>;
  /** Gives the process memory. Throws MachineError when there is none. */
  allocate(bytes: number, placement: Placement): UserBuffer;
  /** Reads and writes the process's memory as the process would. */
  store(address: number, bytes: Uint8Array): void;
  load(address: number, into: Uint8Array): void;
  /** Takes away what the process may do with whole pages of a buffer: everything, or writing. */
  protect(address: number, bytes: number, allowed: 'nothing' | 'reading'): void;
  /** Does one request and waits for its end: 0, or a negative errno. */
  transfer(transfer: Transfer): Promise<number>;
  flush(): Promise<number>;
  readonly zones: readonly { readonly name: string; readonly base: number; readonly bytes: number }[];
  /** Ends the process and the driver; what is left over is reported by the guard and by the result. */
  shutdown(): Promise<string[]>;
}
