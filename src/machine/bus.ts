// The CPU's view of addresses: which port or memory address is whose. Boards on ISA, and IDE, have ports at fixed
// numbers; PCI functions what their BARs and command registers say at the moment of the access.
// Specification: PCI Local Bus 3.0, 3.2.2.3.2 (configuration mechanism #1) and 6.2.5.1 (BARs).

import {
  PCI_BAR_64,
  PCI_BAR_IO,
  PCI_BAR0,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
} from '../../assembly/bus/pci-regs.ts';
import type { ControllerDescription, PortRange } from '../controllers/index.ts';
import type { BarInfo, Controller } from './controller.ts';
import { MachineError } from './errors.ts';
import type { PhysMem } from './phys-mem.ts';

/** Bytes of one access. */
export type AccessSize = 1 | 2 | 4;

const PORTS = 0x10000;
const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
/** Bits of the configuration address register that exist: enable, bus, device, function, register. */
const CONFIG_BITS = 0x80fffffc;
const CONFIG_ENABLE = 0x80000000;
const SLOTS = 32;
/** Lower slots are where a PC has its bridges. */
const FIRST_SLOT = 4;

interface PciSlot {
  readonly controller: Controller;
  readonly bars: readonly BarInfo[];
}

/** A controller's registers that decode an address, and how far that address is into them. */
interface Hit {
  readonly controller: Controller;
  readonly bar: number;
  readonly at: number;
  readonly bytes: number;
}

export class Bus {
  readonly #memory: PhysMem;
  /** Of two boards at the same ports the first answers. */
  readonly #fixed: { readonly controller: Controller; readonly ports: PortRange }[] = [];
  readonly #slots = new Map<number, PciSlot>();
  #configAddress = 0;
  /** What a load reads in each byte where nothing is: all ones as on most boards. */
  emptyByte = 0xff;
  /** Whether an access to a controller's BAR gets there: bridges in front of it decide. Null: there are none. */
  forwards: ((controller: Controller, kind: BarInfo['kind'], address: number) => boolean) | null = null;

  constructor(memory: PhysMem) {
    this.#memory = memory;
  }

  /** The slot that a new controller gets, −1 on ISA. Throws MachineError where it cannot have that one. */
  slotFor(description: ControllerDescription, wanted?: number): number {
    if (description.bus === 'isa') {
      if (wanted === undefined) return -1;
      throw new MachineError(`${description.kind} is an ISA board: it has no slot`);
    }
    if (wanted === undefined) {
      for (let slot = FIRST_SLOT; slot < SLOTS; slot++) if (!this.#slots.has(slot)) return slot;
      throw new MachineError('no PCI slot is free');
    }
    if (!(Number.isInteger(wanted) && wanted >= 0 && wanted < SLOTS)) {
      throw new MachineError(`slot is ${wanted}; it must be a whole number from 0 to ${SLOTS - 1}`);
    }
    const other = this.#slots.get(wanted);
    if (other !== undefined) throw new MachineError(`slot ${wanted} is taken by ${other.controller.name}`);
    return wanted;
  }

  /** Puts a controller at the slot that slotFor() gave it. The machine calls this. */
  add(controller: Controller, slot: number): void {
    for (const ports of controller.description.ports?.(controller.profile) ?? []) {
      this.#fixed.push({ controller, ports });
    }
    if (slot >= 0) this.#slots.set(slot, { controller, bars: controller.bars() });
  }

  /** Takes a controller off the bus. The machine calls this. */
  remove(controller: Controller): void {
    const slot = this.slotOf(controller);
    if (slot >= 0) this.#slots.delete(slot);
    for (let i = this.#fixed.length - 1; i >= 0; i--)
      if (this.#fixed[i]?.controller === controller) this.#fixed.splice(i, 1);
  }

  /** The controller at a PCI slot. */
  controllerAt(slot: number): Controller | undefined {
    return this.#slots.get(slot)?.controller;
  }

  /** The PCI slot of a controller, −1: none. */
  slotOf(controller: Controller): number {
    for (const [slot, entry] of this.#slots) if (entry.controller === controller) return slot;
    return -1;
  }

  /** Where a BAR of `controller` decodes now, null: nowhere. What is at fixed ports is no BAR. */
  barAddress(controller: Controller, bar: number): number | null {
    const info = this.#slots.get(this.slotOf(controller))?.bars.find(({ index }) => index === bar);
    if (info === undefined) return null;
    const gate = info.kind === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    if ((controller.decodes & gate) === 0) return null;
    const base = barBase(controller, info);
    return base === 0 ? null : base;
  }

  /** What the configuration address register holds: all that a snapshot needs of the bus. */
  get configAddress(): number {
    return this.#configAddress;
  }

  set configAddress(value: number) {
    this.#configAddress = (value & CONFIG_BITS) >>> 0;
  }

  /** An IN instruction. All ones where nothing is. */
  readPort(port: number, size: AccessSize): number {
    if (port === CONFIG_ADDRESS && size === 4) return this.#configAddress;
    if (isConfigData(port, size)) return this.#configRead(port, size);
    const hit = this.#portAt(port);
    if (hit !== null && hit.at + size <= hit.bytes) return readRegister(hit, size);
    if (size === 1) return 0xff;
    return joinBytes(size, (i) => this.readPort((port + i) % PORTS, 1));
  }

  /** An OUT instruction. Lost where nothing is. */
  writePort(port: number, size: AccessSize, value: number): void {
    if (port === CONFIG_ADDRESS && size === 4) {
      this.configAddress = value;
      return;
    }
    if (isConfigData(port, size)) {
      this.#configWrite(port, size, value);
      return;
    }
    const hit = this.#portAt(port);
    if (hit !== null && hit.at + size <= hit.bytes) writeRegister(hit, size, value);
    else if (size !== 1)
      for (let i = 0; i < size; i++) this.writePort((port + i) % PORTS, 1, (value >>> (8 * i)) & 0xff);
  }

  /** A load of the CPU: RAM, else the registers that decode the address, else `emptyByte`. */
  readMemory(address: number, size: AccessSize): number {
    const memory = this.#memory;
    if (memory.isRam(address, size)) {
      if (size === 1) return memory.read8(address);
      return size === 2 ? memory.read16(address) : memory.read32(address);
    }
    const hit = memory.isRam(address) ? null : this.#memoryAt(address);
    if (hit !== null && hit.at + size <= hit.bytes) return readRegister(hit, size);
    if (size === 1) return this.emptyByte;
    return joinBytes(size, (i) => this.readMemory(address + i, 1));
  }

  /** A store of the CPU. Lost where nothing is. */
  writeMemory(address: number, size: AccessSize, value: number): void {
    const memory = this.#memory;
    if (memory.isRam(address, size)) {
      if (size === 1) memory.write8(address, value);
      else if (size === 2) memory.write16(address, value);
      else memory.write32(address, value);
      return;
    }
    const hit = memory.isRam(address) ? null : this.#memoryAt(address);
    if (hit !== null && hit.at + size <= hit.bytes) writeRegister(hit, size, value);
    else if (size !== 1)
      for (let i = 0; i < size; i++) this.writeMemory(address + i, 1, (value >>> (8 * i)) & 0xff);
  }

  #portAt(port: number): Hit | null {
    for (const { controller, ports } of this.#fixed) {
      const at = port - ports.first;
      if (at >= 0 && at < ports.count) {
        return { controller, bar: ports.bar, at, bytes: ports.count };
      }
    }
    return this.#barAt('io', PCI_COMMAND_IO, port);
  }

  #memoryAt(address: number): Hit | null {
    return this.#barAt('memory', PCI_COMMAND_MEMORY, address);
  }

  /** The BAR that decodes `address` now: one that holds 0 does not, nor one that the command register gates. */
  #barAt(kind: BarInfo['kind'], gate: number, address: number): Hit | null {
    for (const { controller, bars } of this.#slots.values()) {
      if ((controller.configRead(PCI_COMMAND, 2) & gate) === 0) continue;
      for (const bar of bars) {
        if (bar.kind !== kind) continue;
        const base = barBase(controller, bar);
        const at = address - base;
        if (base === 0 || at < 0 || at >= bar.bytes) continue;
        if (this.forwards === null || this.forwards(controller, kind, address))
          return { controller, bar: bar.index, at, bytes: bar.bytes };
      }
    }
    return null;
  }

  /** The function that the configuration address names; null where none is, or while the mechanism is off. */
  #target(): Controller | null {
    const address = this.#configAddress;
    const isOurs = (address & CONFIG_ENABLE) !== 0 && (address & 0x00ff0700) === 0;
    return isOurs ? (this.controllerAt((address >>> 11) & 31) ?? null) : null;
  }

  #configRead(port: number, size: AccessSize): number {
    const at = (this.#configAddress & 0xfc) + port - CONFIG_DATA;
    return this.#target()?.configRead(at, size) ?? ones(size);
  }

  #configWrite(port: number, size: AccessSize, value: number): void {
    this.#target()?.configWrite((this.#configAddress & 0xfc) + port - CONFIG_DATA, size, value);
  }
}

/** What crosses the end of the data register is split into bytes by the caller. */
function isConfigData(port: number, size: AccessSize): boolean {
  return port >= CONFIG_DATA && port + size <= CONFIG_DATA + 4;
}

function barBase(controller: Controller, bar: BarInfo): number {
  const at = PCI_BAR0 + 4 * bar.index;
  const low = controller.configRead(at, 4);
  if ((low & PCI_BAR_IO) !== 0) return (low & ~3) >>> 0;
  const high = (low & PCI_BAR_64) !== 0 ? controller.configRead(at + 4, 4) : 0;
  return high * 2 ** 32 + ((low & ~15) >>> 0);
}

function readRegister({ controller, bar, at }: Hit, size: AccessSize): number {
  if (size === 1) return controller.read8(bar, at);
  return size === 2 ? controller.read16(bar, at) : controller.read32(bar, at);
}

function writeRegister({ controller, bar, at }: Hit, size: AccessSize, value: number): void {
  if (size === 1) controller.write8(bar, at, value);
  else if (size === 2) controller.write16(bar, at, value);
  else controller.write32(bar, at, value);
}

function ones(size: AccessSize): number {
  return 2 ** (8 * size) - 1;
}

function joinBytes(size: AccessSize, read: (i: number) => number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value |= read(i) << (8 * i);
  return value >>> 0;
}
