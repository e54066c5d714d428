/**
 * What a driver is to the kernel above it. A driver programs one controller and knows no kernel: Linux's glue
 * (src/linux/) and Solaris's (src/solaris/) both stand on this interface. It takes commands whose memory is
 * already mapped for DMA, and reports each one's end from its interrupt handler.
 */
import type { Controller } from '../machine/controller.ts';
import type { PhysMem } from '../machine/phys-mem.ts';

/** What a command does. `scsi`: the descriptor block in `cdb` says; the others use `lba` and `sectors`. */
export type CommandOp = 'read' | 'write' | 'flush' | 'discard' | 'scsi';

/** How a command ended. Everything but `ok` leaves sense data where the command has any. */
export type CommandStatus =
  | 'ok'
  /** The device said CHECK CONDITION or an ATA error: see `sense`. */
  | 'check-condition'
  /** The medium or the target failed in a way that has no sense data. */
  | 'device-error'
  /** The controller itself failed the transfer: bus fault, overrun, bad descriptor. */
  | 'transport-error'
  | 'no-device'
  | 'busy'
  | 'aborted';

/** A scatter-gather list of bus addresses; the arrays are reused, `count` says how much of them is valid. */
export interface SegmentList {
  count: number;
  /** Bus address of each segment. */
  readonly addresses: Float64Array;
  /** Bytes of each segment. */
  readonly lengths: Uint32Array;
}

/** One command. The owner reuses the object; the driver holds it from submit() to its `done`. */
export interface DriverCommand {
  op: CommandOp;
  /** Which of the controller's disks (index into Driver.disks). */
  disk: number;
  /** First sector, in the disk's own sectors. */
  lba: number;
  sectors: number;
  /** For `scsi`: the command descriptor block, of which the first `cdbLength` bytes count. */
  readonly cdb: Uint8Array;
  cdbLength: number;
  /** Which way data goes: towards memory (`read`), towards the device (`write`), or none. */
  direction: 'read' | 'write' | 'none';
  readonly segments: SegmentList;
  /** Force unit access. */
  fua: boolean;

  // Set by the driver before done().
  status: CommandStatus;
  /** Bytes that were asked for but not moved. */
  residual: number;
  /** Fixed-format sense data (SPC-3 4.5.3), `senseLength` bytes of it; zero where there is none. */
  readonly sense: Uint8Array;
  senseLength: number;

  /** Called from the interrupt handler: must not sleep, may submit. */
  done(command: DriverCommand): void;
}

/** What the hardware behind a driver can do with a scatter-gather list. */
export interface DriverLimits {
  /** Address bits that the driver may use: what the board claims, or less where the driver has a quirk. */
  addressBits: number;
  maxSegments: number;
  /** Bytes of one segment. */
  maxSegmentBytes: number;
  /** A segment may not cross a multiple of boundaryMask + 1 (2^32 − 1: none below 4 GiB). */
  boundaryMask: number;
  /** Segments but the first begin, and but the last end, at a multiple of virtBoundaryMask + 1 (0: anywhere). */
  virtBoundaryMask: number;
  /** Alignment mask of addresses and lengths (1: even, 3: dword, 0: none). */
  alignmentMask: number;
  /** Sectors of 512 bytes in one command. */
  maxSectors: number;
  /** Commands that may be with the hardware at once. */
  queueDepth: number;
}

export interface DriverDisk {
  /** What the device says that it is: vendor and model, trimmed. */
  readonly model: string;
  readonly serial: string;
  readonly sectors: number;
  readonly sectorBytes: number;
  readonly writeCache: boolean;
}

/** Memory that CPU and device share for as long as the driver lives (rings, tables, mailboxes). */
export interface DmaMemory {
  /**
   * `bytes` zeroed bytes at a multiple of `align`, contiguous, below 2^`addressBits`. Throws when there is
   * no memory. CPU address and bus address are the same number.
   */
  alloc(bytes: number, align: number, addressBits: number): number;
  free(address: number, bytes: number): void;
}

/** What a driver is given when it attaches. */
export interface DriverHost {
  readonly controller: Controller;
  readonly memory: PhysMem;
  readonly dma: DmaMemory;
  /** Runs the machine until `ready()` is true or `timeoutNs` of virtual time have passed; false: timed out. */
  waitUntil(ready: () => boolean, timeoutNs: number): boolean;
}

/** A driver that has attached to its controller. */
export interface Driver {
  readonly name: string;
  readonly limits: DriverLimits;
  readonly disks: readonly DriverDisk[];
  /** Hands a command to the hardware; false when no slot is free (try again after a `done`). */
  submit(command: DriverCommand): boolean;
  /** Rings the doorbell for what submit() left in its rings since the last call; once a batch. */
  kick(): void;
  /** The interrupt handler: true if the interrupt was this controller's. */
  interrupt(): boolean;
  /** Gives up a command that is with the hardware; its done() is called with `aborted`. */
  abort(command: DriverCommand): void;
  /** Resets the controller; every open command ends as `aborted`. */
  reset(): void;
  /** Stops the hardware and gives its memory back. */
  detach(): void;
}
