// A controller as the CPU sees it: registers, configuration space, and the places where disks go.

import { RESET_BUS, RESET_FUNCTION, RESET_POWER_ON } from '../../assembly/bus/codes.ts';
import {
  PCI_BAR_64,
  PCI_BAR_IO,
  PCI_BAR0,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../../assembly/bus/pci-regs.ts';
import type { ControllerDescription, ControllerKind, Profile } from '../controllers/description.ts';
import type { Disk } from './disk.ts';
import { Drive } from './drive.ts';
import { MachineError } from './errors.ts';
import type { HardwareExports } from './module.ts';
import type { AccessHook } from './phys-mem.ts';

export type ResetKind = 'power-on' | 'bus' | 'function';

const RESETS: Readonly<Record<ResetKind, number>> = {
  'power-on': RESET_POWER_ON,
  bus: RESET_BUS,
  function: RESET_FUNCTION,
};

// Fields of the Device class in assembly/bus/device.ts.
const DEVICE_ID = 4;
const DEVICE_DECODE = 20;
const DEVICE_COMMANDS = 44;
const DEVICE_COMPLETIONS = 48;
const DEVICE_INTERRUPTS = 52;
const DEVICE_DMA_READS = 56;
const DEVICE_DMA_WRITES = 60;
const DEVICE_DMA_READ_BYTES = 64;
const DEVICE_DMA_WRITE_BYTES = 72;
const DEVICE_DMA_FAULTS = 80;
const DEVICE_REGISTER_READS = 84;
const DEVICE_REGISTER_WRITES = 88;

/** What a controller has done since it was made. */
export interface ControllerCounters {
  readonly commands: number;
  readonly completions: number;
  /** Times that the line went up, and messages sent. */
  readonly interrupts: number;
  readonly dmaReads: number;
  readonly dmaWrites: number;
  readonly dmaReadBytes: number;
  readonly dmaWriteBytes: number;
  /** DMA accesses that met no RAM or were refused. */
  readonly dmaFaults: number;
  readonly registerReads: number;
  readonly registerWrites: number;
}

/** How a BAR answers the sizing of PCI 3.0, 6.2.5.1. */
export interface BarInfo {
  readonly index: number;
  readonly kind: 'io' | 'memory';
  readonly wide: boolean;
  readonly bytes: number;
}

export class Controller {
  /** The module's number of the device, 1 and up. */
  readonly id: number;
  /** `ahci.0`, `ahci.1` …: how findings and events call it. */
  readonly name: string;
  readonly kind: ControllerKind;
  readonly profile: Profile;
  readonly description: ControllerDescription;
  /** Interrupt line that it drives. */
  readonly line: number;
  /** All of its lines, `line` first. */
  readonly lines: readonly number[];
  /** Offset of the controller's block in the module's memory. */
  readonly offset: number;
  readonly #hw: HardwareExports;
  readonly #u32: Uint32Array;
  readonly #disks = new Map<string, Disk>();
  readonly #access: AccessHook;

  constructor(
    hw: HardwareExports,
    buffer: ArrayBuffer,
    offset: number,
    name: string,
    description: ControllerDescription,
    profile: Profile,
    line: number,
    access: AccessHook,
  ) {
    this.#hw = hw;
    this.#access = access;
    this.#u32 = new Uint32Array(buffer);
    this.offset = offset;
    this.name = name;
    this.kind = description.kind;
    this.description = description;
    this.profile = profile;
    this.line = line;
    this.lines = Array.from({ length: description.lines ?? 1 }, (_, i) => line + i);
    this.id = this.#word(DEVICE_ID);
  }

  // Register accesses. On ISA, bar 0 is the board's range of ports and `at` the port's number in it;
  // other ports at fixed addresses are the BARs that the description says.

  read8(bar: number, at: number): number {
    return this.#read(bar, at, 1) & 0xff;
  }
  read16(bar: number, at: number): number {
    return this.#read(bar, at, 2) & 0xffff;
  }
  /** Unsigned. */
  read32(bar: number, at: number): number {
    return this.#read(bar, at, 4) >>> 0;
  }
  write8(bar: number, at: number, value: number): void {
    this.#write(bar, at, 1, value & 0xff);
  }
  write16(bar: number, at: number, value: number): void {
    this.#write(bar, at, 2, value & 0xffff);
  }
  write32(bar: number, at: number, value: number): void {
    this.#write(bar, at, 4, value);
  }

  // What hears of accesses hears of them afterwards: a device may ask for attention because of this one.

  #read(bar: number, at: number, size: number): number {
    const value = this.#hw.barRead(this.offset, bar, at, size);
    if (this.#access.run !== null) this.#access.run();
    return value;
  }

  #write(bar: number, at: number, size: number, value: number): void {
    this.#hw.barWrite(this.offset, bar, at, size, value);
    if (this.#access.run !== null) this.#access.run();
  }

  /** A configuration read of 1, 2 or 4 bytes; all ones on ISA. */
  configRead(at: number, size: 1 | 2 | 4): number {
    const value = this.#hw.pciRead(this.offset, at, size);
    return size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1);
  }

  configWrite(at: number, size: 1 | 2 | 4, value: number): void {
    this.#hw.pciWrite(this.offset, at, size, value);
  }

  /** Sizes every BAR as software does: writes ones, reads back, restores. Empty on ISA. */
  bars(): BarInfo[] {
    const found: BarInfo[] = [];
    if (this.description.bus === 'isa') return found;
    for (let index = 0; index < 6; index++) {
      const at = PCI_BAR0 + 4 * index;
      const before = this.configRead(at, 4);
      this.configWrite(at, 4, 0xffffffff);
      const mask = this.configRead(at, 4);
      this.configWrite(at, 4, before);
      if (mask === 0) continue;
      const io = (mask & PCI_BAR_IO) !== 0;
      const wide = !io && (mask & PCI_BAR_64) !== 0;
      const bytes = -(mask & (io ? ~3 : ~15)) >>> 0;
      found.push({ index, kind: io ? 'io' : 'memory', wide, bytes });
      if (wide) index++;
    }
    return found;
  }

  /**
   * Does what a BIOS does: gives the BARs addresses from `memoryBase` and `ioBase` on, and switches on
   * decoding and bus mastering, and what else the board needs. Returns the next free addresses. Nothing to do on
   * ISA. Throws MachineError where a BAR does not take its address.
   */
  enable(memoryBase = 0xfe000000, ioBase = 0xc000): { memoryBase: number; ioBase: number } {
    const checkRoom = (bar: BarInfo, base: number): void => {
      const end = bar.kind === 'memory' && bar.wide ? Number.MAX_SAFE_INTEGER : 2 ** 32;
      if (Number.isSafeInteger(base) && base >= 0 && base + bar.bytes <= end) return;
      throw new MachineError(
        `${this.name}: BAR ${bar.index} cannot be at ${base}; its ${bar.bytes} bytes must end below 2^${end === 2 ** 32 ? 32 : 53}`,
      );
    };
    for (const bar of this.bars()) {
      const at = PCI_BAR0 + 4 * bar.index;
      if (bar.kind === 'io') {
        ioBase = Math.ceil(ioBase / bar.bytes) * bar.bytes;
        checkRoom(bar, ioBase);
        this.configWrite(at, 4, ioBase);
        ioBase += bar.bytes;
      } else {
        memoryBase = Math.ceil(memoryBase / bar.bytes) * bar.bytes;
        checkRoom(bar, memoryBase);
        this.configWrite(at, 4, memoryBase);
        if (bar.wide) this.configWrite(at + 4, 4, Math.floor(memoryBase / 2 ** 32));
        memoryBase += bar.bytes;
      }
    }
    this.configWrite(PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    for (const { at, size, value } of this.description.bios ?? []) this.configWrite(at, size, value);
    return { memoryBase, ioBase };
  }

  /**
   * Puts a disk, or an optical drive, at a place: `place` is the port or SCSI target, `unit` the drive or logical unit.
   * Throws MachineError where the controller has no such place, or none for a drive (NVMe, virtio-blk).
   */
  attach(disk: Disk, place: number, unit = 0): void {
    if (this.#hw.attachDisk(this.offset, place, unit, disk.offset) === 0) {
      throw new MachineError(
        `${this.name} has no place ${place}, unit ${unit} for ${disk instanceof Drive ? 'an optical drive' : 'a disk'}`,
      );
    }
    this.#disks.set(`${place}.${unit}`, disk);
  }

  /** Takes the disk at a place away; open commands to it fail as when a cable is pulled. */
  detachDisk(place: number, unit = 0): void {
    this.#hw.attachDisk(this.offset, place, unit, 0);
    this.#disks.delete(`${place}.${unit}`);
  }

  /** Every disk with its place, as `place.unit`. */
  get disks(): ReadonlyMap<string, Disk> {
    return this.#disks;
  }

  /** Which disks the module's memory has at which places, after a restore. The machine calls this. */
  setDisks(disks: Iterable<readonly [place: string, disk: Disk]>): void {
    this.#disks.clear();
    for (const [place, disk] of disks) this.#disks.set(place, disk);
  }

  /** The disk at a place. */
  diskAt(place: number, unit = 0): Disk | undefined {
    return this.#disks.get(`${place}.${unit}`);
  }

  /** PCI_COMMAND_IO and PCI_COMMAND_MEMORY, as far as the command register and the power state allow them now. */
  get decodes(): number {
    return this.#word(DEVICE_DECODE);
  }

  reset(kind: ResetKind): void {
    this.#hw.resetController(this.offset, RESETS[kind]);
  }

  get counters(): ControllerCounters {
    return {
      commands: this.#word(DEVICE_COMMANDS),
      completions: this.#word(DEVICE_COMPLETIONS),
      interrupts: this.#word(DEVICE_INTERRUPTS),
      dmaReads: this.#word(DEVICE_DMA_READS),
      dmaWrites: this.#word(DEVICE_DMA_WRITES),
      dmaReadBytes: this.#wide(DEVICE_DMA_READ_BYTES),
      dmaWriteBytes: this.#wide(DEVICE_DMA_WRITE_BYTES),
      dmaFaults: this.#word(DEVICE_DMA_FAULTS),
      registerReads: this.#word(DEVICE_REGISTER_READS),
      registerWrites: this.#word(DEVICE_REGISTER_WRITES),
    };
  }

  #word(field: number): number {
    return this.#u32[(this.offset + field) >>> 2] as number;
  }

  #wide(field: number): number {
    return this.#word(field + 4) * 2 ** 32 + this.#word(field);
  }
}
