// The other side of the register tests: a host that programs the ports by hand.

import * as ata from '../../assembly/ata/regs.ts';
import * as regs from '../../assembly/piix-ide/regs.ts';
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

/** Where a channel's table is; data come behind. */
const TABLES = 0x20000;
export const DATA = 0x80000;
export const RAM_END = 0x400000;
export const IRQ = 14;

export interface IdeOptions {
  readonly profile?: string | Profile;
  /** Channel and drive of each disk. */
  readonly places?: readonly (readonly [number, number])[];
  readonly diskBytes?: number;
  readonly sectorBytes?: 512 | 4096;
  readonly readOnly?: boolean;
  readonly medium?: Medium;
  readonly flavour?: 'release' | 'debug';
  readonly guard?: boolean;
  /** Optical drives, in the places behind those of the disks. */
  readonly drives?: readonly (DriveOptions & { readonly place: readonly [number, number] })[];
}

export interface Prd {
  readonly address: number;
  /** 64 KiB is what 0 stands for. */
  readonly bytes: number;
}

export interface Taskfile {
  readonly command: number;
  readonly drive?: number;
  readonly lba?: number;
  readonly count?: number;
  readonly feature?: number;
  readonly device?: number;
  /** Both bytes of the registers, for 48-bit commands. */
  readonly wide?: boolean;
}

/** A machine with one PIIX IDE controller. */
export class Ide {
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

  static async create(options: IdeOptions = {}): Promise<Ide> {
    const diskBytes = options.diskBytes ?? 2 ** 20;
    const places = options.places ?? [[0, 0]];
    const machine = await createMachine({
      ram: [
        { base: 0, bytes: RAM_END },
        { base: 2 ** 32, bytes: 0x100000 },
      ],
      guard: options.guard ?? false,
      diskBytes: diskBytes * places.length + 2 ** 20,
      ...(options.flavour === undefined ? {} : { flavour: options.flavour }),
    });
    const controller = machine.addController({ kind: 'piix-ide', profile: options.profile ?? 'piix4' });
    const disks = places.map(([channel, drive]) => {
      const disk = machine.addDisk({
        ...(options.medium === undefined ? { bytes: diskBytes } : { medium: options.medium }),
        sectorBytes: options.sectorBytes ?? 512,
        readOnly: options.readOnly ?? false,
      });
      controller.attach(disk, channel, drive);
      return disk;
    });
    const drives = (options.drives ?? []).map(({ place: [channel, drive], ...rest }) => {
      const made = machine.addDrive(rest);
      controller.attach(made, channel, drive);
      return made;
    });
    return new Ide(machine, controller, disks, drives);
  }

  get disk(): Disk {
    return this.disks[0] as Disk;
  }
  get drive(): Drive {
    return this.drives[0] as Drive;
  }

  read(register: number, channel = 0): number {
    return this.controller.read8(2 * channel, register);
  }
  write(register: number, value: number, channel = 0): void {
    this.controller.write8(2 * channel, register, value);
  }
  /** The alternate status. */
  alternate(channel = 0): number {
    return this.controller.read8(2 * channel + 1, 0);
  }
  control(value: number, channel = 0): void {
    this.controller.write8(2 * channel + 1, 0, value);
  }
  master(register: number, channel = 0): number {
    return this.controller.read8(regs.PIIX_BAR_MASTER, channel * regs.MASTER_STRIDE + register);
  }
  setMaster(register: number, value: number, channel = 0): void {
    this.controller.write8(regs.PIIX_BAR_MASTER, channel * regs.MASTER_STRIDE + register, value);
  }
  /** Whether the channel's interrupt line is asserted. */
  irq(channel = 0): boolean {
    return (this.machine.irqLines & (1 << (IRQ + channel))) !== 0;
  }

  select(drive: number, channel = 0): void {
    this.write(regs.IDE_DEVICE, ata.ATA_DEVICE_LBA | (drive === 0 ? 0 : regs.IDE_DEVICE_SECOND), channel);
  }

  /** Writes registers and command; time stands still. */
  send(task: Taskfile, channel = 0): void {
    const lba = task.lba ?? 0;
    const count = task.count ?? 0;
    const feature = task.feature ?? 0;
    const device =
      task.device ?? ata.ATA_DEVICE_LBA | (task.wide === true ? 0 : Math.floor(lba / 2 ** 24) & 15);
    this.write(regs.IDE_DEVICE, device | (task.drive === 1 ? regs.IDE_DEVICE_SECOND : 0), channel);
    if (task.wide === true) {
      this.write(regs.IDE_FEATURE, feature >>> 8, channel);
      this.write(regs.IDE_COUNT, count >>> 8, channel);
      this.write(regs.IDE_LBA_LOW, Math.floor(lba / 2 ** 24) & 0xff, channel);
      this.write(regs.IDE_LBA_MID, Math.floor(lba / 2 ** 32) & 0xff, channel);
      this.write(regs.IDE_LBA_HIGH, Math.floor(lba / 2 ** 40) & 0xff, channel);
    }
    this.write(regs.IDE_FEATURE, feature, channel);
    this.write(regs.IDE_COUNT, count, channel);
    this.write(regs.IDE_LBA_LOW, lba % 256, channel);
    this.write(regs.IDE_LBA_MID, Math.floor(lba / 2 ** 8) & 0xff, channel);
    this.write(regs.IDE_LBA_HIGH, Math.floor(lba / 2 ** 16) & 0xff, channel);
    this.write(regs.IDE_COMMAND, task.command, channel);
  }

  /** A command without data to its end; the status. */
  execute(task: Taskfile, channel = 0): number {
    this.send(task, channel);
    this.machine.settle();
    return this.read(regs.IDE_STATUS, channel);
  }

  // PIO.

  take(bytes: number, channel = 0): Uint8Array {
    const data = new Uint8Array(bytes);
    for (let i = 0; i < bytes; i += 2) {
      const word = this.controller.read16(2 * channel, regs.IDE_DATA);
      data[i] = word & 0xff;
      data[i + 1] = word >>> 8;
    }
    return data;
  }

  put(data: Uint8Array, channel = 0): void {
    for (let i = 0; i < data.length; i += 2) {
      const word = (data[i] as number) | ((data[i + 1] as number) << 8);
      this.controller.write16(2 * channel, regs.IDE_DATA, word);
    }
  }

  /** PACKET up to the packet: the drive then has it, or refused. `limit`: the byte count limit. */
  sendPacket(cdb: readonly number[], limit: number, feature = 0, drive = 0, channel = 0): void {
    this.send({ command: ata.ATA_PACKET, lba: limit * 256, feature, drive }, channel);
    if ((this.alternate(channel) & ata.ATA_STATUS_DRQ) !== 0) this.put(packet(cdb), channel);
  }

  /** The block that the drive puts up or asks for: its length; 0: there is none. */
  block(channel = 0): number {
    if ((this.read(regs.IDE_STATUS, channel) & ata.ATA_STATUS_DRQ) === 0) return 0;
    return this.read(regs.IDE_LBA_MID, channel) | (this.read(regs.IDE_LBA_HIGH, channel) << 8);
  }

  // Bus master.

  /** Writes a table, at its channel's place or another, and gives it to the master. `end` marks the last entry. */
  setTable(prds: readonly Prd[], channel = 0, at = TABLES + channel * 0x10000, end = true): void {
    const { memory } = this.machine;
    prds.forEach((prd, i) => {
      const last = end && i === prds.length - 1;
      memory.write32(at + 8 * i, prd.address);
      memory.write32(at + 8 * i + 4, ((prd.bytes & 0xffff) | (last ? regs.PRD_END : 0)) >>> 0);
    });
    this.controller.write32(regs.PIIX_BAR_MASTER, channel * regs.MASTER_STRIDE + regs.MASTER_TABLE, at);
  }

  start(toMemory: boolean, channel = 0): void {
    const direction = toMemory ? regs.MASTER_TO_MEMORY : 0;
    this.setMaster(regs.MASTER_STATUS, regs.MASTER_INTERRUPT | regs.MASTER_ERROR, channel);
    this.setMaster(regs.MASTER_COMMAND, direction, channel);
    this.setMaster(regs.MASTER_COMMAND, direction | regs.MASTER_START, channel);
  }

  stop(channel = 0): void {
    this.setMaster(regs.MASTER_COMMAND, 0, channel);
  }

  /** A DMA command through a table; the bus master's status before it is stopped. */
  dma(task: Taskfile, toMemory: boolean, prds: readonly Prd[], channel = 0): number {
    this.setTable(prds, channel);
    this.send(task, channel);
    this.start(toMemory, channel);
    this.machine.settle();
    const status = this.master(regs.MASTER_STATUS, channel);
    this.stop(channel);
    return status;
  }

  /** Software reset, until the drives are ready. */
  softReset(channel = 0): void {
    this.control(regs.IDE_CONTROL_SRST, channel);
    this.control(0, channel);
    this.machine.settle();
  }

  /** The registers from the error register to the device register. */
  registers(channel = 0): number[] {
    return [1, 2, 3, 4, 5, 6].map((register) => this.read(register, channel));
  }
}

/** A packet: a command descriptor block with zeroes behind it. */
export function packet(cdb: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(ata.ATA_PACKET_BYTES);
  bytes.set(cdb);
  return bytes;
}

/** Bytes that tell where they come from. */
export function pattern(bytes: number, seed: number): Uint8Array {
  let x = (seed * 2654435761 + 1) >>> 0;
  return Uint8Array.from({ length: bytes }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x >>> 24;
  });
}
