// The other side of the register tests: a port's structures in RAM, written by hand.

import * as regs from '../../assembly/ahci/regs.ts';
import * as ata from '../../assembly/ata/regs.ts';
import type { Profile } from '../../src/controllers/index.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type Drive,
  type DriveOptions,
  type Machine,
} from '../../src/machine/index.ts';
import type { Medium } from '../../src/media/index.ts';

export { ata, regs };

const BAR = regs.AHCI_BAR;
/** Where each port's structures are: command list, received frames, then a command table a slot. */
const LIST = 0x10000;
const FRAMES = 0x10800;
const TABLES = 0x20000;
const TABLE_STRIDE = 0x1000;
export const DATA = 0x80000;
const PORT_MEMORY = 0x100000;
/** First byte behind the low RAM. */
export const RAM_END = 0x1800000;
const RAM = [
  { base: 0, bytes: RAM_END },
  { base: 2 ** 32, bytes: 0x200000 },
];

export interface HbaOptions {
  readonly profile?: string | Profile;
  readonly disks?: number;
  readonly diskBytes?: number;
  readonly sectorBytes?: 512 | 4096;
  readonly readOnly?: boolean;
  /** Instead of the module's own disks: the bytes of the one disk. */
  readonly medium?: Medium;
  readonly flavour?: 'release' | 'debug';
  /** Optical drives, on the ports behind those of the disks. */
  readonly drives?: readonly DriveOptions[];
  /** Leave the ports as they come out of reset. */
  readonly cold?: boolean;
}

export interface Prd {
  readonly address: number;
  readonly bytes: number;
  readonly interrupt?: boolean;
}

/** What a Register FIS carries. */
export interface Taskfile {
  readonly command: number;
  readonly lba?: number;
  readonly count?: number;
  readonly feature?: number;
  readonly device?: number;
  /** FIS byte 1, FIS type, control register, and the command header's flags, where a test wants odd ones. */
  readonly flags?: number;
  readonly type?: number;
  readonly control?: number;
  readonly header?: number;
  readonly dwords?: number;
  /** The packet of a PACKET command. */
  readonly packet?: readonly number[];
}

/** A machine with one AHCI controller whose ports 0 … have disks and run. */
export class Hba {
  readonly machine: Machine;
  readonly controller: Controller;
  readonly disks: readonly Disk[];

  private constructor(
    machine: Machine,
    controller: Controller,
    disks: readonly Disk[],
    readonly drives: readonly Drive[],
  ) {
    this.machine = machine;
    this.controller = controller;
    this.disks = disks;
  }

  static async create(options: HbaOptions = {}): Promise<Hba> {
    const diskBytes = options.diskBytes ?? 2 ** 20;
    const machine = await createMachine({
      ram: RAM,
      guard: false,
      diskBytes: diskBytes * (options.disks ?? 1) + 2 * 2 ** 20,
      ...(options.flavour === undefined ? {} : { flavour: options.flavour }),
    });
    const profile = options.profile ?? 'ahci';
    const controller = machine.addController({ kind: 'ahci', profile });
    const disks = Array.from({ length: options.disks ?? 1 }, (_, place) => {
      const disk = machine.addDisk({
        ...(options.medium === undefined ? { bytes: diskBytes } : { medium: options.medium }),
        sectorBytes: options.sectorBytes ?? 512,
        readOnly: options.readOnly ?? false,
      });
      controller.attach(disk, place);
      return disk;
    });
    const drives = (options.drives ?? []).map((drive, i) => {
      const made = machine.addDrive(drive);
      controller.attach(made, disks.length + i);
      return made;
    });
    const hba = new Hba(machine, controller, disks, drives);
    if (options.cold !== true) hba.start();
    return hba;
  }

  get disk(): Disk {
    return this.disks[0] as Disk;
  }

  get drive(): Drive {
    return this.drives[0] as Drive;
  }

  read(at: number): number {
    return this.controller.read32(BAR, at);
  }
  write(at: number, value: number): void {
    this.controller.write32(BAR, at, value);
  }
  px(register: number, port = 0): number {
    return this.read(regs.AHCI_PORTS + port * regs.AHCI_PORT_STRIDE + register);
  }
  setPx(register: number, value: number, port = 0): void {
    this.write(regs.AHCI_PORTS + port * regs.AHCI_PORT_STRIDE + register, value);
  }

  /** Runs every port with a disk, with all interrupts. */
  start(): void {
    this.machine.settle();
    this.write(regs.AHCI_GHC, regs.AHCI_GHC_AE | regs.AHCI_GHC_IE);
    for (let port = 0; port < this.disks.length + this.drives.length; port++) this.startPort(port);
  }

  startPort(port = 0): void {
    const base = port * PORT_MEMORY;
    this.setPx(regs.AHCI_PX_CLB, base + LIST, port);
    this.setPx(regs.AHCI_PX_FB, base + FRAMES, port);
    this.setPx(regs.AHCI_PX_CLBU, 0, port);
    this.setPx(regs.AHCI_PX_FBU, 0, port);
    this.setPx(regs.AHCI_PX_SERR, 0xffffffff, port);
    this.setPx(regs.AHCI_PX_IS, 0xffffffff, port);
    this.setPx(regs.AHCI_PX_IE, 0xffffffff, port);
    const command = this.px(regs.AHCI_PX_CMD, port);
    this.setPx(regs.AHCI_PX_CMD, command | regs.AHCI_CMD_FRE | regs.AHCI_CMD_SUD, port);
    this.machine.settle();
    this.setPx(regs.AHCI_PX_SERR, 0xffffffff, port);
    this.setPx(regs.AHCI_PX_CMD, this.px(regs.AHCI_PX_CMD, port) | regs.AHCI_CMD_ST, port);
    this.clear(port);
  }

  /** Stops and starts a port, as after an error. */
  restart(port = 0): void {
    this.setPx(regs.AHCI_PX_CMD, this.px(regs.AHCI_PX_CMD, port) & ~regs.AHCI_CMD_ST, port);
    this.clear(port);
    this.setPx(regs.AHCI_PX_CMD, this.px(regs.AHCI_PX_CMD, port) | regs.AHCI_CMD_ST, port);
  }

  /** COMRESET, until the signature is there. */
  comreset(port = 0): void {
    this.setPx(regs.AHCI_PX_CMD, this.px(regs.AHCI_PX_CMD, port) & ~regs.AHCI_CMD_ST, port);
    this.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET, port);
    this.setPx(regs.AHCI_PX_SCTL, 0, port);
    this.machine.settle();
    this.setPx(regs.AHCI_PX_SERR, 0xffffffff, port);
    this.restart(port);
  }

  /** Clears what the port reported so far. */
  clear(port = 0): void {
    this.setPx(regs.AHCI_PX_SERR, 0xffffffff, port);
    this.setPx(regs.AHCI_PX_IS, 0xffffffff, port);
    this.write(regs.AHCI_IS, 1 << port);
  }

  table(slot: number, port = 0): number {
    return port * PORT_MEMORY + TABLES + slot * TABLE_STRIDE;
  }
  list(port = 0): number {
    return port * PORT_MEMORY + LIST;
  }
  frame(at: number, bytes: number, port = 0): Uint8Array {
    return this.machine.memory.readBytes(port * PORT_MEMORY + FRAMES + at, bytes);
  }
  /** PRDBC of a slot. */
  moved(slot = 0, port = 0): number {
    return this.machine.memory.read32(this.list(port) + slot * 32 + regs.AHCI_HEADER_PRDBC);
  }

  /** Writes header, frame and descriptors of a slot; the doorbell is the caller's. */
  prepare(slot: number, task: Taskfile, prds: readonly Prd[] = [], port = 0): void {
    const { memory } = this.machine;
    const table = this.table(slot, port);
    const list = this.list(port) + slot * regs.AHCI_HEADER_BYTES;
    memory.fill(table, 0, regs.AHCI_TABLE_PRDT);
    memory.writeBytes(table, frameOf(task));
    if (task.packet !== undefined)
      memory.writeBytes(table + regs.AHCI_TABLE_PACKET, Uint8Array.from(task.packet));
    prds.forEach((prd, i) => {
      const at = table + regs.AHCI_TABLE_PRDT + i * regs.AHCI_PRD_BYTES;
      memory.write32(at, prd.address % 2 ** 32);
      memory.write32(at + 4, Math.floor(prd.address / 2 ** 32));
      memory.write32(at + 8, 0);
      memory.write32(
        at + 12,
        ((prd.bytes - 1) | (prd.interrupt === true ? regs.AHCI_PRD_INTERRUPT : 0)) >>> 0,
      );
    });
    memory.write32(list, (task.dwords ?? 5) | (task.header ?? 0) | (prds.length << 16));
    memory.write32(list + 4, 0);
    memory.write32(list + 8, table);
    memory.write32(list + 12, 0);
  }

  /** Issues slots and runs the hardware until nothing is left to do. */
  issue(slots: number, queued = false, port = 0): void {
    if (queued) this.setPx(regs.AHCI_PX_SACT, slots, port);
    this.setPx(regs.AHCI_PX_CI, slots, port);
    this.machine.settle();
  }

  /** One command in slot 0 to its end; PxTFD. */
  execute(task: Taskfile, prds: readonly Prd[] = [], port = 0): number {
    this.prepare(0, task, prds, port);
    this.issue(1, false, port);
    return this.px(regs.AHCI_PX_TFD, port);
  }
}

function frameOf(task: Taskfile): Uint8Array {
  const lba = task.lba ?? 0;
  const low = lba % 2 ** 24;
  const high = Math.floor(lba / 2 ** 24);
  const count = task.count ?? 0;
  const feature = task.feature ?? 0;
  return Uint8Array.from([
    task.type ?? regs.FIS_REGISTER_H2D,
    task.flags ?? regs.FIS_COMMAND,
    task.command,
    feature & 0xff,
    low & 0xff,
    (low >> 8) & 0xff,
    low >> 16,
    task.device ?? ata.ATA_DEVICE_LBA,
    high & 0xff,
    (high >> 8) & 0xff,
    (high >> 16) & 0xff,
    feature >> 8,
    count & 0xff,
    count >> 8,
    0,
    task.control ?? 0,
    0,
    0,
    0,
    0,
  ]);
}

/** Bytes that tell where they come from. */
export function pattern(bytes: number, seed: number): Uint8Array {
  let x = (seed * 2654435761 + 1) >>> 0;
  return Uint8Array.from({ length: bytes }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x >>> 24;
  });
}

/** IDENTIFY words from bytes. */
export function wordsOf(bytes: Uint8Array): number[] {
  return Array.from(
    { length: bytes.length / 2 },
    (_, i) => (bytes[2 * i] ?? 0) | ((bytes[2 * i + 1] ?? 0) << 8),
  );
}
