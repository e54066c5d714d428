// PCI functions of the chipset that only have to be there, with the configuration registers that software looks for and
// those that route interrupts; and bridges to other buses, with the windows of addresses that they let through.
// Specifications: PCI Local Bus 3.0, chapter 6; PCI-to-PCI Bridge Architecture 1.2, 3.2.

import {
  PCI_CLASS,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_DEVICE,
  PCI_INTERRUPT_LINE,
  PCI_REVISION,
  PCI_VENDOR,
} from '../../assembly/bus/pci-regs.ts';
import type { AccessSize } from '../machine/index.ts';

const CONFIG_BYTES = 256;
const HEADER_TYPE = 0x0e;
const MULTIFUNCTION = 0x80;

/** What answers configuration accesses. */
export interface PciTarget {
  configRead(at: number, size: AccessSize): number;
  configWrite(at: number, size: AccessSize, value: number): void;
}

/** A byte that software can write: its value after a reset, and which bits; without, all. */
export type Writable = readonly [at: number, value: number, mask?: number];

export interface BridgeShape {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** 24 bits: base class, sub class, interface. */
  readonly classCode: number;
  readonly multifunction?: boolean;
  /** The low byte of the header's type; 0 where it is left out. */
  readonly header?: number;
  /** The command register after a reset; all on where it is left out. */
  readonly command?: number;
  readonly writable?: readonly Writable[];
}

export class Bridge implements PciTarget {
  readonly #shape: BridgeShape;
  readonly #registers = new Uint8Array(CONFIG_BYTES);
  readonly #masks = new Uint8Array(CONFIG_BYTES);
  #changes = 0;

  constructor(shape: BridgeShape) {
    this.#shape = shape;
    this.#masks[PCI_COMMAND] = 7;
    this.#masks[PCI_INTERRUPT_LINE] = 0xff;
    for (const [at, , mask = 0xff] of shape.writable ?? []) this.#masks[at] = mask;
    this.reset();
  }

  configRead(at: number, size: AccessSize): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.#registers[at + i] ?? 0xff);
    return value;
  }

  /** How often registers may have changed: what follows from them holds while this does. */
  get changes(): number {
    return this.#changes;
  }

  configWrite(at: number, size: AccessSize, value: number): void {
    this.#changes++;
    for (let i = 0; i < size; i++) {
      const mask = this.#masks[at + i] ?? 0;
      const byte = (value >>> (8 * i)) & mask;
      if (mask !== 0) this.#registers[at + i] = ((this.#registers[at + i] ?? 0) & ~mask) | byte;
    }
  }

  reset(): void {
    const { vendor, device, revision, classCode, multifunction = false, writable = [] } = this.#shape;
    const { header = 0, command = 7 } = this.#shape;
    const registers = this.#registers.fill(0);
    this.#changes++;
    const put = (at: number, bytes: number, value: number): void => {
      for (let i = 0; i < bytes; i++) registers[at + i] = value >>> (8 * i);
    };
    put(PCI_VENDOR, 2, vendor);
    put(PCI_DEVICE, 2, device);
    put(PCI_COMMAND, 2, command);
    put(PCI_REVISION, 1, revision);
    put(PCI_CLASS, 3, classCode);
    put(HEADER_TYPE, 1, header | (multifunction ? MULTIFUNCTION : 0));
    for (const [at, value] of writable) put(at, 1, value);
  }

  /** The 256 registers, to be kept and put back. */
  get state(): readonly number[] {
    return [...this.#registers];
  }

  set state(bytes: readonly number[]) {
    this.#registers.set(bytes.slice(0, CONFIG_BYTES));
    this.#changes++;
  }
}

/** Registers of a bridge to another bus (3.2.5): numbers of its buses, windows of ports and memory. */
const HEADER_BRIDGE = 1;
const PRIMARY = 0x18;
const SECONDARY = 0x19;
const SUBORDINATE = 0x1a;
const IO_BASE = 0x1c;
const IO_LIMIT = 0x1d;
const MEMORY_BASE = 0x20;
const MEMORY_LIMIT = 0x22;
const PREFETCH_BASE = 0x24;
const PREFETCH_LIMIT = 0x26;
const PREFETCH_BASE_UPPER = 0x28;
const PREFETCH_LIMIT_UPPER = 0x2c;
const IO_BASE_UPPER = 0x30;
const IO_LIMIT_UPPER = 0x32;
const BRIDGE_CONTROL = 0x3e;
/** In the low bits of a base or limit: it has an upper half elsewhere. */
const WIDE = 0x01;
const HIGH_NIBBLE = 0xf0;

function bytes(at: number, count: number): Writable[] {
  return Array.from({ length: count }, (_, i) => [at + i, 0] as const);
}

const BRIDGE_REGISTERS: readonly Writable[] = [
  ...bytes(PRIMARY, 4),
  ...[IO_BASE, IO_LIMIT].map((at) => [at, WIDE, HIGH_NIBBLE] as const),
  ...[MEMORY_BASE, MEMORY_LIMIT].flatMap((at) => [[at, 0, HIGH_NIBBLE] as const, ...bytes(at + 1, 1)]),
  ...[PREFETCH_BASE, PREFETCH_LIMIT].flatMap((at) => [[at, WIDE, HIGH_NIBBLE] as const, ...bytes(at + 1, 1)]),
  ...bytes(PREFETCH_BASE_UPPER, 8),
  ...bytes(IO_BASE_UPPER, 4),
  ...bytes(BRIDGE_CONTROL, 1),
];

/** A bridge to another bus, whose devices have addresses only within its windows. */
export class PciBridge extends Bridge {
  constructor(vendor: number, device: number) {
    super({
      vendor,
      device,
      revision: 0,
      classCode: 0x060400,
      header: HEADER_BRIDGE,
      command: 0,
      writable: BRIDGE_REGISTERS,
    });
  }

  /** The number of the bus behind it. */
  get secondary(): number {
    return this.configRead(SECONDARY, 1);
  }

  /** The highest number of a bus behind that. */
  get subordinate(): number {
    return this.configRead(SUBORDINATE, 1);
  }

  /** Whether an access to `address` gets through, down from the processor. */
  forwards(kind: 'io' | 'memory', address: number): boolean {
    const command = this.configRead(PCI_COMMAND, 2);
    if (kind === 'io') return (command & PCI_COMMAND_IO) !== 0 && this.#hasPort(address);
    return (command & PCI_COMMAND_MEMORY) !== 0 && this.#hasMemory(address);
  }

  #hasPort(port: number): boolean {
    const end = (at: number, upper: number): number =>
      this.configRead(upper, 2) * 0x10000 + ((this.configRead(at, 1) & HIGH_NIBBLE) << 8);
    return port >= end(IO_BASE, IO_BASE_UPPER) && port <= end(IO_LIMIT, IO_LIMIT_UPPER) + 0xfff;
  }

  #hasMemory(address: number): boolean {
    const end = (at: number): number => (this.configRead(at, 2) >> 4) * 0x100000;
    const upper = (at: number): number => this.configRead(at, 4) * 2 ** 32;
    const inWindow = address >= end(MEMORY_BASE) && address <= end(MEMORY_LIMIT) + 0xfffff;
    if (inWindow) return true;
    const first = end(PREFETCH_BASE) + upper(PREFETCH_BASE_UPPER);
    return address >= first && address <= end(PREFETCH_LIMIT) + upper(PREFETCH_LIMIT_UPPER) + 0xfffff;
  }
}
