// The other side of the tests: a chip with disks, SCRIPTS as text, and a small driver for one command at a time.

import * as regs from '../../assembly/lsi53c895a/regs.ts';
import type { Profile } from '../../src/controllers/index.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type Drive,
  type DriveOptions,
  type Machine,
} from '../../src/machine/index.ts';
import { assemble, link } from '../../src/scripts/index.ts';

export { regs };

const MIB = 2 ** 20;
export const RAM_END = 16 * MIB;
/** Where programs, tables, messages and data lie; memory behind 4 GiB; a place without any. */
export const PROGRAM = 0x10_0000;
export const TABLE = 0x20_0000;
export const MESSAGE = 0x21_0000;
export const DATA = 0x80_0000;
export const HIGH = 2 ** 32;
export const HOLE = 0x4000_0000;

/** Entries of the table that the driver's program uses. */
const AT_SELECT = 0;
const AT_MESSAGE = 8;
const AT_COMMAND = 16;
const CDB = TABLE + 0x100;
const STATUS = TABLE + 0x120;
const MESSAGE_IN = TABLE + 0x130;

export interface ChipOptions {
  readonly profile?: string | Profile;
  readonly flavour?: 'release' | 'debug';
  /** Targets that have a disk as unit 0. */
  readonly targets?: readonly number[];
  readonly diskBytes?: number;
  readonly sectorBytes?: 512 | 4096;
  readonly latencyNs?: number;
  readonly readOnly?: boolean;
  readonly guard?: boolean;
  /** An optical drive, as unit 0 of target 3. */
  readonly drive?: DriveOptions;
}

export interface Command {
  readonly target?: number;
  readonly lun?: number;
  /** Without: the target may not disconnect. */
  readonly disconnects?: boolean;
  readonly tag?: readonly [kind: number, value: number];
  readonly cdb: readonly number[];
  readonly direction?: 'in' | 'out';
  /** Address and bytes of each segment. */
  readonly segments?: readonly (readonly [number, number])[];
  /** Says MOVE instead of CHMOV. */
  readonly plain?: boolean;
}

export interface Outcome {
  /** Status byte; −1: none came. */
  readonly status: number;
  /** Bytes of the segments that were not moved. */
  readonly residual: number;
  readonly timedOut: boolean;
  /** Phase mismatches that the driver had to handle, disconnections, IGNORE WIDE RESIDUE messages. */
  readonly mismatches: number;
  readonly disconnects: number;
  readonly residues: number;
}

export class Chip {
  private constructor(
    readonly machine: Machine,
    readonly controller: Controller,
    readonly disks: readonly Disk[],
    readonly drive: Drive | null,
  ) {}

  static async create(options: ChipOptions = {}): Promise<Chip> {
    const { targets = [0], diskBytes = MIB, sectorBytes = 512, readOnly = false } = options;
    const machine = await createMachine({
      ram: [
        { base: 0, bytes: RAM_END },
        { base: HIGH, bytes: 2 * MIB },
      ],
      guard: options.guard ?? false,
      diskBytes: diskBytes * targets.length + MIB,
      ...(options.flavour === undefined ? {} : { flavour: options.flavour }),
    });
    const controller = machine.addController({
      kind: 'lsi53c895a',
      profile: options.profile ?? 'lsi53c895a',
    });
    const disks = targets.map((target) => {
      const latency = options.latencyNs === undefined ? {} : { latencyNs: options.latencyNs };
      const disk = machine.addDisk({ bytes: diskBytes, sectorBytes, readOnly, ...latency });
      controller.attach(disk, target);
      return disk;
    });
    const drive = options.drive === undefined ? null : machine.addDrive(options.drive);
    if (drive !== null) controller.attach(drive, 3);
    const chip = new Chip(machine, controller, disks, drive);
    chip.setUp();
    return chip;
  }

  get disk(): Disk {
    return this.disks[0] as Disk;
  }
  read(at: number): number {
    return this.controller.read8(1, at);
  }
  read32(at: number): number {
    return this.controller.read32(1, at);
  }
  write(at: number, value: number): void {
    this.controller.write8(1, at, value);
  }
  write32(at: number, value: number): void {
    this.controller.write32(1, at, value);
  }
  get line(): boolean {
    return (this.machine.irqLines & (1 << this.controller.line)) !== 0;
  }
  /** SIST0 and SIST1 in one number. */
  get sist(): number {
    return this.controller.read16(1, regs.LSI_SIST0);
  }
  get memoryBase(): number {
    return this.controller.configRead(0x14, 4) - (this.controller.configRead(0x14, 4) % 16);
  }
  get ramBase(): number {
    return this.controller.configRead(0x18, 4) - (this.controller.configRead(0x18, 4) % 16);
  }

  /** What drivers do: reset, id, response to reselections, all fatal interrupts, 250 ms for selections. */
  setUp(): void {
    this.write(regs.LSI_ISTAT0, regs.LSI_ISTAT0_SRST);
    this.write(regs.LSI_ISTAT0, 0);
    this.write(regs.LSI_SCID, regs.LSI_SCID_RRE | regs.LSI_HOST_ID);
    this.write(regs.LSI_RESPID0, 1 << regs.LSI_HOST_ID);
    this.write(regs.LSI_DCNTL, regs.LSI_DCNTL_COM);
    this.write(regs.LSI_STIME0, 0x0c);
    this.write(regs.LSI_SCNTL3, 0x03);
    this.controller.write16(1, regs.LSI_SIEN0, 0x048f);
    this.write(regs.LSI_DIEN, 0x7d);
  }

  /** Loads SCRIPTS; addresses of the labels. */
  load(
    source: string,
    base = PROGRAM,
    values: Readonly<Record<string, number>> = {},
  ): Record<string, number> {
    const program = assemble(source);
    for (const [i, word] of link(program, { base, values }).entries()) {
      this.machine.memory.write32(base + 4 * i, word);
    }
    return Object.fromEntries(Object.entries(program.labels).map(([name, at]) => [name, base + at]));
  }

  /** Starts at `at` and lets everything happen that does. */
  go(at = PROGRAM): void {
    this.write32(regs.LSI_DSP, at);
    this.machine.settle();
  }

  /** Loads and runs SCRIPTS; what DSTAT said. */
  run(source: string, values: Readonly<Record<string, number>> = {}): number {
    this.load(source, PROGRAM, values);
    this.go();
    return this.read(regs.LSI_DSTAT) & ~regs.LSI_DSTAT_DFE;
  }

  bytes(at: number, values: readonly number[]): number {
    this.machine.memory.writeBytes(at, Uint8Array.from(values));
    return at;
  }

  /** A unit attention waits behind every reset: TEST UNIT READY takes it away. */
  clearAttention(target = 0, lun = 0): void {
    this.execute({ target, lun, cdb: [0, 0, 0, 0, 0, 0] });
  }

  /** One command to its end, with all that a driver does for it. */
  execute(command: Command): Outcome {
    const steps = this.#steps(command);
    while (true) {
      const step = steps.next();
      if (step.done === true) return step.value;
      this.machine.settle();
    }
  }

  /** As execute(), over media that answer later. */
  async executeLate(command: Command): Promise<Outcome> {
    const steps = this.#steps(command);
    while (true) {
      const step = steps.next();
      if (step.done === true) return step.value;
      await this.machine.settleAsync();
    }
  }

  /** Yields where time has to pass. */
  *#steps(command: Command): Generator<undefined, Outcome> {
    const { memory } = this.machine;
    const { target = 0, lun = 0, disconnects = true, tag, cdb, segments = [], direction = 'in' } = command;
    const messages = [0x80 | (disconnects ? 0x40 : 0) | lun, ...(tag ?? [])];
    const scntl3 = this.read(regs.LSI_SCNTL3);
    memory.write32(TABLE + AT_SELECT, ((scntl3 << 24) | (target << 16)) >>> 0);
    memory.write32(TABLE + AT_MESSAGE, messages.length);
    memory.write32(TABLE + AT_MESSAGE + 4, this.bytes(MESSAGE, messages));
    memory.write32(TABLE + AT_COMMAND, cdb.length);
    memory.write32(TABLE + AT_COMMAND + 4, this.bytes(CDB, cdb));
    memory.write8(STATUS, 0xff);
    const move = command.plain === true ? 'MOVE' : 'CHMOV';
    const labels = this.load(driver(move, segments, direction));
    this.write32(regs.LSI_DSA, TABLE);
    this.write32(regs.LSI_SCRATCHA, 0);
    this.write32(regs.LSI_DSP, PROGRAM);
    yield;
    let mismatches = 0;
    while ((this.read(regs.LSI_ISTAT0) & regs.LSI_ISTAT0_SIP) !== 0) {
      const sist = this.sist;
      if ((sist & 0x0400) !== 0) return this.#outcome(segments.length, labels, mismatches, true);
      if ((sist & regs.LSI_SIST0_MA) === 0) throw new Error(`SIST is 0x${sist.toString(16)}`);
      mismatches++;
      // What is left of the block move becomes the move, and data goes on there.
      const at = this.read32(regs.LSI_DSP) - 8;
      memory.write32(at, this.read32(regs.LSI_DBC));
      memory.write32(at + 4, this.read32(regs.LSI_DNAD));
      memory.write32((labels.data as number) + 4, at);
      this.write32(regs.LSI_DSP, labels.dispatch as number);
      yield;
    }
    const dstat = this.read(regs.LSI_DSTAT);
    const code = this.read32(regs.LSI_DSPS);
    if ((dstat & regs.LSI_DSTAT_SIR) === 0 || code !== 0x10) {
      throw new Error(`DSTAT is 0x${dstat.toString(16)}, DSPS 0x${code.toString(16)}`);
    }
    return this.#outcome(segments.length, labels, mismatches, false);
  }

  #outcome(
    segments: number,
    labels: Readonly<Record<string, number>>,
    mismatches: number,
    timedOut: boolean,
  ): Outcome {
    const { memory } = this.machine;
    const first = labels.seg as number;
    let residual = 0;
    if (this.read(regs.LSI_SCRATCHA + 2) === 0) {
      const now = memory.read32((labels.data as number) + 4);
      for (let at = now; at < first + 8 * segments; at += 8) residual += memory.read32(at) & 0xffffff;
    }
    const status = memory.read8(STATUS);
    return {
      status: status === 0xff ? -1 : status,
      residual,
      timedOut,
      mismatches,
      disconnects: this.read(regs.LSI_SCRATCHA),
      residues: this.read(regs.LSI_SCRATCHA + 1),
    };
  }
}

/** The driver's program for one command. SCRATCHA counts disconnections, residues, and data that went through. */
function driver(move: string, segments: Command['segments'] = [], direction: 'in' | 'out'): string {
  const phase = direction === 'in' ? 'DATA_IN' : 'DATA_OUT';
  const moves = segments.map(([at, bytes]) => `${move} ${bytes}, 0x${at.toString(16)}, WHEN ${phase}`);
  return `
    SELECT ATN FROM ${AT_SELECT}, lost
    INT 0x11, WHEN NOT MSG_OUT
    MOVE FROM ${AT_MESSAGE}, WHEN MSG_OUT
  dispatch:
    JUMP msgin, WHEN MSG_IN
    JUMP data, IF ${phase}
    JUMP sendcdb, IF CMD
    JUMP getstatus, IF STATUS
    INT 0x12
  lost:
    INT 0x13
  sendcdb:
    MOVE FROM ${AT_COMMAND}, WHEN CMD
    JUMP dispatch
  data:
    JUMP seg
  seg:
    ${moves.join('\n    ')}
    MOVE 1 TO SCRATCHA2
    INT 0x14, WHEN ${phase}
    JUMP dispatch
  getstatus:
    MOVE 1, 0x${STATUS.toString(16)}, WHEN STATUS
    JUMP dispatch
  msgin:
    MOVE 1, 0x${MESSAGE_IN.toString(16)}, WHEN MSG_IN
    JUMP complete, IF 0x00
    JUMP acknowledge, IF 0x02
    JUMP departs, IF 0x04
    JUMP residue, IF 0x23
    INT 0x15
  acknowledge:
    CLEAR ACK
    JUMP dispatch
  residue:
    MOVE SCRATCHA1 + 1 TO SCRATCHA1
    CLEAR ACK
    MOVE 1, 0x${MESSAGE_IN.toString(16)}, WHEN MSG_IN
    CLEAR ACK
    MOVE SCNTL2 | 1 TO SCNTL2
    JUMP dispatch
  departs:
    MOVE SCRATCHA0 + 1 TO SCRATCHA0
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK
    WAIT DISCONNECT
    WAIT RESELECT lost
    INT 0x16, WHEN NOT MSG_IN
    MOVE 1, 0x${MESSAGE_IN.toString(16)}, WHEN MSG_IN
    CLEAR ACK
    JUMP dispatch, WHEN NOT MSG_IN
    MOVE 2, 0x${(MESSAGE_IN + 1).toString(16)}, WHEN MSG_IN
    CLEAR ACK
    JUMP dispatch
  complete:
    MOVE SCNTL2 & 0x7f TO SCNTL2
    CLEAR ACK
    WAIT DISCONNECT
    INT 0x10
  `;
}

/** Bytes that tell where they come from. */
export function pattern(bytes: number, seed: number): Uint8Array {
  let x = (seed * 2654435761 + 1) >>> 0;
  return Uint8Array.from({ length: bytes }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x >>> 24;
  });
}

export function readTen(lba: number, blocks: number): number[] {
  return [
    0x28,
    0,
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

export function writeTen(lba: number, blocks: number): number[] {
  return [0x2a, ...readTen(lba, blocks).slice(1)];
}
