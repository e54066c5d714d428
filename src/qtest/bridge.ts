// PCI functions of the chipset that only have to be there: bridges, with the configuration registers that software looks
// for and those that route interrupts. Specification: PCI Local Bus 3.0, chapter 6.

import {
  PCI_CLASS,
  PCI_COMMAND,
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

export interface BridgeShape {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** 24 bits: base class, sub class, interface. */
  readonly classCode: number;
  readonly multifunction?: boolean;
  /** Registers beyond the header that software can write: their offset, and their value after a reset. */
  readonly writable?: readonly (readonly [at: number, value: number])[];
}

export class Bridge implements PciTarget {
  readonly #shape: BridgeShape;
  readonly #registers = new Uint8Array(CONFIG_BYTES);
  readonly #masks = new Uint8Array(CONFIG_BYTES);

  constructor(shape: BridgeShape) {
    this.#shape = shape;
    this.#masks[PCI_COMMAND] = 7;
    this.#masks[PCI_INTERRUPT_LINE] = 0xff;
    for (const [at] of shape.writable ?? []) this.#masks[at] = 0xff;
    this.reset();
  }

  configRead(at: number, size: AccessSize): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.#registers[at + i] ?? 0xff);
    return value;
  }

  configWrite(at: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) {
      const mask = this.#masks[at + i] ?? 0;
      const byte = (value >>> (8 * i)) & mask;
      if (mask !== 0) this.#registers[at + i] = ((this.#registers[at + i] ?? 0) & ~mask) | byte;
    }
  }

  reset(): void {
    const { vendor, device, revision, classCode, multifunction = false, writable = [] } = this.#shape;
    const registers = this.#registers.fill(0);
    const put = (at: number, bytes: number, value: number): void => {
      for (let i = 0; i < bytes; i++) registers[at + i] = value >>> (8 * i);
    };
    put(PCI_VENDOR, 2, vendor);
    put(PCI_DEVICE, 2, device);
    put(PCI_COMMAND, 2, 7);
    put(PCI_REVISION, 1, revision);
    put(PCI_CLASS, 3, classCode);
    put(HEADER_TYPE, 1, multifunction ? MULTIFUNCTION : 0);
    for (const [at, value] of writable) put(at, 1, value);
  }

  /** The 256 registers, to be kept and put back. */
  get state(): readonly number[] {
    return [...this.#registers];
  }

  set state(bytes: readonly number[]) {
    this.#registers.set(bytes.slice(0, CONFIG_BYTES));
  }
}
