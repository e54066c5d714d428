// What an emulator that takes one of the controllers in says to it, and is told: the types of `backplane/embed`.

import type { ControllerKind, PortRange, Profile } from '../controllers/index.ts';
import type { Access, Finding } from '../guard/index.ts';
import type {
  AccessSize,
  BarInfo,
  Controller,
  Disk,
  DiskOptions,
  Fault,
  MediaNotice,
  ResetKind,
} from '../machine/index.ts';
import type { Medium } from '../media/index.ts';

/** RAM of the embedder's machine: `bytes` bytes from physical address `base` on, both multiples of 4096. */
export interface DmaRegion {
  readonly base: number;
  readonly bytes: number;
}

/** A region of RAM that lies in an array: from its byte `at` on; default is `base`. */
export interface ArrayRegion extends DmaRegion {
  readonly at?: number;
}

/** Consecutive bytes of the embedder's RAM. They lie in one region. */
export interface DmaRun {
  readonly address: number;
  readonly bytes: number;
}

/** RAM that is an array, or lies in one. The controllers read and write it in place. */
export interface ArrayDma {
  /**
   * The bytes; a WebAssembly.Memory, which may grow; or a function that gives the bytes as they are now: it is
   * asked again when what it gave last was detached. A shared memory that grows wants the Memory or a function.
   */
  readonly memory: Uint8Array | WebAssembly.Memory | (() => Uint8Array);
  /** In ascending order, apart; at most 16, none of 4 GiB or more. Default: all of the bytes, from address 0 on. */
  readonly regions?: readonly ArrayRegion[];
  /** Called before a controller writes `bytes` bytes at `address`: forget what was translated from there. */
  onWrite?(address: number, bytes: number): void;
}

/** RAM that only the embedder can reach. Runs are valid during the call only, and lie in `regions`. */
export interface CallbackDma {
  readonly regions: readonly DmaRegion[];
  /** Fills `to` with what the runs hold, one after the other; `to` is as long as they are together. */
  read(runs: readonly DmaRun[], to: Uint8Array): void;
  /** Puts `from` where the runs say, one after the other. */
  write(runs: readonly DmaRun[], from: Uint8Array): void;
}

export type Dma = Uint8Array | WebAssembly.Memory | ArrayDma | CallbackDma;

/** A disk, and where it goes: in memory (`bytes`, `content`), or a Medium that the host holds (backplane/media). */
export interface MediaOptions extends DiskOptions {
  /** An optical drive instead, with a disc of 2048-byte blocks in it; empty if nothing says what that holds. */
  readonly drive?: boolean;
  /** What a disk in memory holds at first; it is as long as that if `bytes` does not say. */
  readonly content?: Uint8Array;
  /** Port, SCSI target, channel or namespace's place, as Controller.attach() counts; default: the first that is free. */
  readonly place?: number;
  /** Drive or logical unit; default 0. */
  readonly unit?: number;
}

/** What createController() makes of it. */
export interface EmbedOptions {
  readonly kind: ControllerKind;
  /** A profile's name (`backplane controllers` lists them), or one of your own; default is the kind's first. */
  readonly profile?: string | Profile;
  /** One disk or several; a Medium or the bytes of a disk in memory stand for a disk with nothing else said. */
  readonly media: Medium | Uint8Array | MediaOptions | readonly (Medium | Uint8Array | MediaOptions)[];
  /** Where the machine's RAM is. */
  readonly dma: Dma;
  /**
   * An interrupt line changed. Called from run(), advance(), reset(), restore() and poll(), never inside a register or
   * configuration access unless `irqInside` says so. `line`: 0, and 1 for the secondary channel of piix-ide.
   */
  irq?(level: boolean, line: number): void;
  /** Has `irq` and `msi` called inside register accesses, too: for hosts whose interrupt controllers stand that. */
  readonly irqInside?: boolean;
  /**
   * A message-signalled interrupt: the write of `data` to `address`, where no RAM is. Called when `irq` is. Without
   * it such messages are dropped; what is written to RAM is written there either way.
   */
  msi?(address: number, data: number): void;
  /** A tray was moved, or a request is parked because the medium failed (`readErrors`, `writeErrors`). Called when `irq` is. */
  onNotice?(notice: MediaNotice): void;
  /** An asynchronous medium has answered, and run() may have work again. Called on its own, from the event loop. */
  onMedia?(): void;
  /** The guard: address rules, and mapping rules once guard.map() was called. Default true; `false` costs nothing. */
  readonly guard?: boolean | { readonly capacity?: number };
  /** Room in bytes for disks in memory to grow into, beside what `media` says. Default 0. */
  readonly diskBytes?: number;
  /**
   * Which of the controllers in one guest this is, 0 (default) to 4095. Those with the same number have the same serial
   * numbers and world wide names where `media` gives none; Linux refuses a second NVMe controller of the same name.
   */
  readonly number?: number;
  /** The hardware: a compiled module, its bytes, or where they are. Default: `backplane.wasm` beside this code. */
  readonly wasm?: WebAssembly.Module | Uint8Array | ArrayBuffer | URL | string;
}

/** What the guard has to say. */
export interface EmbedGuard {
  /**
   * Allows the controller to use `bytes` bytes at bus address `address`. From the first call on every access to RAM
   * must be allowed. Returns a handle for unmap().
   */
  map(address: number, bytes: number, access: Access, where?: string): number;
  /** Ends a mapping: accesses from now on are too late. Unknown handles are ignored. */
  unmap(handle: number): void;
  /** What was found since the beginning, in order; the same place is one finding with a count. */
  findings(): readonly Finding[];
}

/**
 * A controller in somebody else's machine. Its time is virtual: it passes in advance() only. What a guest does never
 * throws; what the embedder cannot mean (a BAR that is not there, a size of 3) throws EmbedError.
 */
export interface EmbeddedController {
  readonly kind: ControllerKind;
  readonly profile: Profile;
  /** Sizes and kinds of the BARs; empty on ISA. */
  readonly bars: readonly BarInfo[];
  /** Ports at fixed numbers (ISA boards, IDE), each with the `bar` that read() and write() know it by. */
  readonly ports: readonly PortRange[];
  /** As `media` has them; a Drive where that says so. */
  readonly disks: readonly Disk[];
  /** The controller underneath: counters, attach(), detachDisk(). Its register functions tell nobody of interrupts. */
  readonly controller: Controller;
  readonly guard: EmbedGuard;

  /** 1, 2 or 4 bytes of the configuration space; all ones on ISA and behind byte 255. */
  configRead(at: number, size: AccessSize): number;
  configWrite(at: number, size: AccessSize, value: number): void;
  /** Where a BAR decodes now; null while it does not (the command register, the power state, nothing assigned). */
  barAddress(bar: number): number | null;
  /**
   * A register access, `at` bytes into a BAR; unsigned. An access of 8 bytes is two, low half first. Registers on ISA
   * and at fixed ports are the BARs that `ports` says.
   */
  read(bar: number, at: number, size: AccessSize): number;
  write(bar: number, at: number, size: AccessSize, value: number): void;
  /** IN and OUT at fixed ports, wherever `ports` has them. */
  portRead(port: number, size: AccessSize): number;
  portWrite(port: number, size: AccessSize, value: number): void;

  /** Does what is due now, at most `budget` events (default 1,000,000). Returns the lines, as `lines` has them. */
  run(budget?: number): number;
  /**
   * Lets `ns` pass, doing at its time what becomes due. Where a medium has to wait for the host, time stops there, and
   * the next run() or advance() goes on towards the same end. Returns the lines.
   */
  advance(ns: number): number;
  /** Virtual time in ns. */
  now(): number;
  /** When something is due next, in virtual ns: at or before now() there is work for run(). Infinity: nothing is. */
  nextDeadline(): number;
  /** Interrupt lines that are asserted now: bit 0, and bit 1 for the secondary channel of piix-ide. */
  readonly lines: number;
  /** Calls `irq` and `msi` for what register accesses have changed. Returns the lines. */
  poll(): number;

  /** Requests that wait for an asynchronous medium. */
  readonly pendingMedia: number;
  /** Resolves when a medium has answered since time stopped for one. */
  waitMedia(): Promise<void>;
  /** What media said when they failed, the last 256. */
  readonly mediaFailures: readonly string[];
  /** Requests that are parked: for an error, or held by the fault plan. */
  readonly parkedRequests: number;
  /** Has every request tried again that is parked for an error. */
  retry(): void;
  /** Has go on what the fault plan holds for a disk under the number `tag`, and holds no more. */
  release(disk: Disk, tag?: number): void;
  /** Has the medium fail, once or often, as src/machine/faults.ts says. */
  addFault(fault: Fault): void;

  /** `power-on` (the default) and `bus` reset the configuration space too, `function` as a function-level reset does. */
  reset(kind?: ResetKind): void;
  /** What a BIOS does, where none runs: places the BARs, switches on decoding and bus mastering. */
  enable(memoryBase?: number, ioBase?: number): void;

  /**
   * The controller in the middle of whatever it does: registers, commands, disks in memory, time, findings. Not the
   * embedder's RAM, files and networks.
   */
  save(): Uint8Array;
  /** Puts it back, here or in another of the same options. Throws SnapshotError, and changes nothing, where it does not fit. */
  restore(bytes: Uint8Array): void;

  /** Waits for what media are doing and closes them. The controller is of no use afterwards. */
  close(): Promise<void>;
}
