// What the kernel base needs from the hardware under it. src/machine satisfies both interfaces structurally; nothing
// else of the machine is known here.

/** Why `advance` came back. */
export type AdvanceResult =
  /** The time asked for was reached. */
  | 'time'
  /** An interrupt line changed or a message-signalled interrupt is pending; the clock stands at that moment. */
  | 'irq'
  /** A completion is due and the host has not finished its I/O; the clock waits there. */
  | 'media'
  /** A medium failed, and its request waits until the host has it tried again. */
  | 'parked';

/** Clock and interrupt wires of one emulated computer. */
export interface Platform {
  /** Virtual time in nanoseconds, a whole number from 0 up, never going back. */
  now(): number;
  /** Virtual time of the next thing the hardware will do by itself; `Infinity` when there is none. */
  nextDeadline(): number;
  /** Runs the hardware up to `untilNs`, or until an interrupt line changes, or until it needs host I/O. */
  advance(untilNs: number): AdvanceResult;
  /** Settles when the host I/O that stopped `advance` is done. */
  waitMedia(): Promise<void>;
  /** Asserted interrupt lines, one bit a line, 0..31. Level: a bit stays until its device drops the line. */
  readonly irqLines: number;
  /** Takes the next pending message-signalled interrupt: its vector, or -1. */
  takeMsi(): number;
}

/** One range of RAM. */
export interface MemoryRegion {
  /** Physical address of the first byte. */
  readonly base: number;
  readonly bytes: number;
}

/**
 * The CPU's one door to RAM. Addresses are physical, JS numbers below 2^53. An access outside RAM is the caller's
 * mistake; what happens then is the machine's business.
 */
export interface PhysMemory {
  read8(addr: number): number;
  read16(addr: number): number;
  /** Unsigned. */
  read32(addr: number): number;
  write8(addr: number, value: number): void;
  write16(addr: number, value: number): void;
  write32(addr: number, value: number): void;
  /** A copy of `length` bytes. */
  readBytes(addr: number, length: number): Uint8Array;
  /** Copies `length` bytes (default: to its end) into `into`, from its index `start` (default 0) on. */
  readInto(addr: number, into: Uint8Array, start?: number, length?: number): void;
  /** Writes `length` bytes (default: all) of `bytes`, beginning with number `from` (default 0). */
  writeBytes(addr: number, bytes: Uint8Array, from?: number, length?: number): void;
  /** Whether `length` bytes (default: all) are those of `bytes` from its index `start` (default 0) on. */
  equals(addr: number, bytes: Uint8Array, start?: number, length?: number): boolean;
  /** RAM to RAM; the ranges may overlap. */
  copy(to: number, from: number, length: number): void;
  fill(addr: number, byte: number, length: number): void;
  /** Nobody needs these bytes any more: whoever watches memory may take them for never written. */
  forget(addr: number, length: number): void;
  /** Ascending by base, not overlapping. */
  readonly regions: readonly MemoryRegion[];
}
