// A board with disks, driven by hand: ports, mailboxes and CCBs, each byte where the test puts it.

import * as regs from '../../assembly/aha1542/regs.ts';
import type { Profile } from '../../src/controllers/index.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type DiskOptions,
  type Drive,
  type DriveOptions,
  type Machine,
  type MachineOptions,
} from '../../src/machine/index.ts';

/** Where a test's mailboxes, CCBs, lists and data are. */
export const MAILBOXES = 0x1000;
export const CCBS = 0x2000;
export const LISTS = 0x4000;
export const DATA = 0x8000;
const CCB_STRIDE = 0x100;

export interface Ccb {
  opcode?: number;
  target?: number;
  lun?: number;
  /** regs.DIRECTION_*. */
  direction?: number;
  cdb?: readonly number[];
  cdbLength?: number;
  senseLength?: number;
  dataLength?: number;
  dataPointer?: number;
}

export interface Outcome {
  /** regs.MBI_*; 0 if nothing came. */
  mail: number;
  host: number;
  target: number;
  /** The data length field afterwards. */
  residual: number;
  sense: Uint8Array;
}

export interface BoardOptions extends MachineOptions {
  flavour?: 'debug' | 'release';
  profile?: string | Profile;
  mailboxes?: number;
  disk?: DiskOptions;
  /** An optical drive, as target 1. */
  drive?: DriveOptions;
  /** False: the board as it is after power on. */
  ready?: boolean;
}

export class Board {
  nextOut = 0;
  nextIn = 0;

  private constructor(
    readonly machine: Machine,
    readonly controller: Controller,
    readonly disk: Disk,
    readonly mailboxes: number,
    readonly drive: Drive | null,
  ) {}

  static async create(options: BoardOptions = {}): Promise<Board> {
    const machine = await createMachine({ ram: 'small', flavour: 'debug', guard: false, ...options });
    const controller = machine.addController({ kind: 'aha1542', profile: options.profile ?? 'aha1542' });
    const disk = machine.addDisk({ bytes: 256 * 1024, ...options.disk });
    controller.attach(disk, 0);
    const drive = options.drive === undefined ? null : machine.addDrive(options.drive);
    if (drive !== null) controller.attach(drive, 1);
    const board = new Board(machine, controller, disk, options.mailboxes ?? 4, drive);
    if (options.ready !== false) {
      board.setUp();
      // The first command meets the unit attention of power on.
      board.execute({ cdb: [0, 0, 0, 0, 0, 0] });
    }
    return board;
  }

  /** Unlocks the mailboxes if need be and tells the board where they are. */
  setUp(): void {
    if (this.controller.profile.name === 'aha1542') {
      const [flags = 0, lock = 0] = this.command([regs.CMD_EXTENDED_BIOS], 2);
      this.command([regs.CMD_MAILBOX_ENABLE, flags & 0xfe, lock]);
    }
    this.machine.memory.fill(MAILBOXES, 0, 8 * this.mailboxes);
    this.command([regs.CMD_MAILBOX_INIT, this.mailboxes, ...be24(MAILBOXES)]);
    this.nextOut = 0;
    this.nextIn = 0;
  }

  get status(): number {
    return this.controller.read8(0, regs.PORT_STATUS);
  }

  get interrupts(): number {
    return this.controller.read8(0, regs.PORT_INTERRUPT);
  }

  control(bits: number): void {
    this.controller.write8(0, regs.PORT_CONTROL, bits);
  }

  /** Writes a command and its parameters; returns `answer` bytes and resets the interrupt. */
  command(bytes: readonly number[], answer = 0): number[] {
    for (const byte of bytes) this.controller.write8(0, regs.PORT_COMMAND, byte);
    const reply = Array.from({ length: answer }, () => this.controller.read8(0, regs.PORT_DATA));
    this.control(regs.CONTROL_IRST);
    return reply;
  }

  ccbAddress(slot: number): number {
    return CCBS + slot * CCB_STRIDE;
  }

  /** Puts a CCB at slot `slot`, its status bytes EEh so that one sees whether they were written. */
  writeCcb(slot: number, ccb: Ccb): number {
    const { memory } = this.machine;
    const at = this.ccbAddress(slot);
    const cdb = ccb.cdb ?? [0, 0, 0, 0, 0, 0];
    memory.fill(at, 0, CCB_STRIDE);
    memory.write8(at + regs.CCB_AT_OPCODE, ccb.opcode ?? regs.OPCODE_INITIATOR);
    memory.write8(
      at + regs.CCB_AT_ADDRESS,
      ((ccb.target ?? 0) << regs.CCB_TARGET_SHIFT) |
        ((ccb.direction ?? 0) << regs.CCB_DIRECTION_SHIFT) |
        (ccb.lun ?? 0),
    );
    memory.write8(at + regs.CCB_AT_CDB_LENGTH, ccb.cdbLength ?? cdb.length);
    memory.write8(at + regs.CCB_AT_SENSE_LENGTH, ccb.senseLength ?? 18);
    memory.writeBytes(at + regs.CCB_AT_DATA_LENGTH, Uint8Array.from(be24(ccb.dataLength ?? 0)));
    memory.writeBytes(at + regs.CCB_AT_DATA_POINTER, Uint8Array.from(be24(ccb.dataPointer ?? 0)));
    memory.write8(at + regs.CCB_AT_HOST_STATUS, 0xee);
    memory.write8(at + regs.CCB_AT_TARGET_STATUS, 0xee);
    memory.writeBytes(at + regs.CCB_AT_CDB, Uint8Array.from(cdb));
    return at;
  }

  /** Fills the next out mailbox. */
  post(address: number, action: number = regs.MBO_START): void {
    this.machine.memory.writeBytes(
      MAILBOXES + this.nextOut * regs.MAILBOX_BYTES,
      Uint8Array.of(action, ...be24(address)),
    );
    this.nextOut = (this.nextOut + 1) % this.mailboxes;
  }

  start(): void {
    this.controller.write8(0, regs.PORT_COMMAND, regs.CMD_START_SCSI);
  }

  /** The next in mailbox, emptied: how it ended and which CCB; null when it is empty. */
  takeMail(): { mail: number; ccb: number } | null {
    const { memory } = this.machine;
    const at = MAILBOXES + (this.mailboxes + this.nextIn) * regs.MAILBOX_BYTES;
    const [mail = 0, high = 0, middle = 0, low = 0] = memory.readBytes(at, 4);
    if (mail === 0) return null;
    memory.write8(at, 0);
    this.nextIn = (this.nextIn + 1) % this.mailboxes;
    return { mail, ccb: high * 0x10000 + middle * 0x100 + low };
  }

  outcome(slot: number, mail: number): Outcome {
    const { memory } = this.machine;
    const at = this.ccbAddress(slot);
    const bytes = memory.readBytes(at, CCB_STRIDE);
    const byte = (offset: number): number => bytes[offset] ?? 0;
    return {
      mail,
      host: byte(regs.CCB_AT_HOST_STATUS),
      target: byte(regs.CCB_AT_TARGET_STATUS),
      residual: byte(4) * 0x10000 + byte(5) * 0x100 + byte(6),
      sense: bytes.slice(regs.CCB_AT_CDB + byte(regs.CCB_AT_CDB_LENGTH)).slice(0, 32),
    };
  }

  /** Runs one CCB to its end and acknowledges it. */
  execute(ccb: Ccb, slot = 0): Outcome {
    this.post(this.writeCcb(slot, ccb));
    this.start();
    this.machine.settle();
    const mail = this.takeMail();
    this.control(regs.CONTROL_IRST);
    return this.outcome(slot, mail?.mail ?? 0);
  }

  /** Writes a scatter-gather list and returns its bytes, the data length of the CCB. */
  writeList(segments: readonly { address: number; bytes: number }[], at = LISTS): number {
    const bytes = segments.flatMap((segment) => [...be24(segment.bytes), ...be24(segment.address)]);
    this.machine.memory.writeBytes(at, Uint8Array.from(bytes));
    return bytes.length;
  }
}

export function be24(value: number): number[] {
  return [(value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

/** READ(10) or WRITE(10). */
export function rw10(opcode: number, lba: number, blocks: number, flags = 0): number[] {
  return [
    opcode,
    flags,
    lba >>> 24,
    (lba >>> 16) & 0xff,
    (lba >>> 8) & 0xff,
    lba & 0xff,
    0,
    blocks >> 8,
    blocks & 0xff,
    0,
  ];
}

export function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >>> 8)) & 0xff);
}

/** Additional sense code and qualifier of fixed-format sense data. */
export function ascOf(sense: Uint8Array): number {
  return (sense[12] ?? 0) * 0x100 + (sense[13] ?? 0);
}
