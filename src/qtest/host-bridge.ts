// The host bridge's say over RAM: areas below 1 MiB that are read from or written to a bus instead (PAM), and memory that
// only system management mode sees (SMRAM, TSEG). Devices' own accesses are not its business here.
// Specifications: Intel 440FX PCIset, 290549-001, 3.2.18 and 3.2.23; Intel 3 Series Express Chipset, 316966-002, 5.1.

import type { AccessSize } from '../machine/index.ts';
import { Bridge, type BridgeShape } from './bridge.ts';

const PAMS = 7;
/** PAM0's upper half is the area of the BIOS; the other registers have two areas of 16 KiB each. */
const BIOS_AREA = 0xf0000;
const FIRST_AREA = 0xc0000;
const AREA_BYTES = 0x4000;
const READ_ENABLE = 1;
const WRITE_ENABLE = 2;
const PAM_BITS = 0x33;

/** SMRAM: open to everybody, locked until a reset, enabled at all; where its lower part is. */
const SMRAM_OPEN = 0x40;
const SMRAM_LOCK = 0x10;
const SMRAM_ENABLE = 0x08;
const SMRAM_BITS = 0x78;
const SMRAM_BASE = 0x02;
const LEGACY_START = 0xa0000;
const LEGACY_END = 0xc0000;
/** ESMRAMC: a part of RAM's end is set aside, and how large that is; bits that are always 1. */
const TSEG_ENABLE = 0x01;
const TSEG_MIB = [1, 2, 8] as const;
const ESMRAMC_BITS = 0x87;
const ESMRAMC_FIXED = 0x38;
const MIB = 2 ** 20;

/** Addresses from `start` to below `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

const NONE: readonly Range[] = [];

export interface HostBridgeShape extends BridgeShape {
  /** Where the registers are; ESMRAMC −1: there is none. */
  readonly pam: number;
  readonly smram: number;
  readonly esmramc: number;
}

export class HostBridge extends Bridge {
  readonly #shape: HostBridgeShape;
  readonly #lowRam: number;
  #closed: { readonly read: readonly Range[]; readonly write: readonly Range[] } = { read: [], write: [] };
  #closedAt = -1;

  /** `lowRam`: bytes of RAM below 4 GiB. */
  constructor(shape: HostBridgeShape, lowRam: number) {
    const { pam, smram, esmramc } = shape;
    super({
      ...shape,
      writable: [
        ...Array.from({ length: PAMS }, (_, i) => [pam + i, 0, i === 0 ? 0x30 : PAM_BITS] as const),
        [smram, SMRAM_BASE, SMRAM_BITS],
        ...(esmramc < 0 ? [] : [[esmramc, ESMRAMC_FIXED, ESMRAMC_BITS] as const]),
      ],
    });
    this.#shape = shape;
    this.#lowRam = lowRam;
  }

  override configWrite(at: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.#writeByte(at + i, (value >>> (8 * i)) & 0xff);
  }

  #writeByte(at: number, value: number): void {
    const { smram, esmramc } = this.#shape;
    const isLocked = (this.configRead(smram, 1) & SMRAM_LOCK) !== 0;
    if (isLocked && (at === smram || at === esmramc)) return;
    const isLocking = at === smram && (value & SMRAM_LOCK) !== 0;
    super.configWrite(at, 1, isLocking ? value & ~SMRAM_OPEN : value);
  }

  /** Where the processor does not get at RAM, in order: to read, or to write. */
  closed(access: 'read' | 'write'): readonly Range[] {
    if (this.#closedAt !== this.changes) {
      this.#closed = { read: this.#ranges(READ_ENABLE), write: this.#ranges(WRITE_ENABLE) };
      this.#closedAt = this.changes;
    }
    return this.#closed[access];
  }

  #ranges(enable: number): Range[] {
    const { pam, smram, esmramc } = this.#shape;
    const ranges: Range[] = [];
    const close = (start: number, end: number): void => {
      const last = ranges.at(-1);
      if (last?.end === start) ranges[ranges.length - 1] = { start: last.start, end };
      else ranges.push({ start, end });
    };
    const management = this.configRead(smram, 1);
    const isOpen = (management & SMRAM_OPEN) !== 0 && (management & SMRAM_ENABLE) !== 0;
    if (!isOpen) close(LEGACY_START, LEGACY_END);
    for (let area = 2; area < 2 * PAMS; area++) {
      const bits = this.configRead(pam + (area >> 1), 1) >> (4 * (area & 1));
      const start = FIRST_AREA + (area - 2) * AREA_BYTES;
      if ((bits & enable) === 0) close(start, start + AREA_BYTES);
    }
    if (((this.configRead(pam, 1) >> 4) & enable) === 0) close(BIOS_AREA, MIB);
    const extended = esmramc < 0 ? 0 : this.configRead(esmramc, 1);
    const bytes = (TSEG_MIB[(extended >> 1) & 3] ?? 0) * MIB;
    const hasSegment = (extended & TSEG_ENABLE) !== 0 && (management & SMRAM_ENABLE) !== 0;
    if (hasSegment && bytes > 0 && !isOpen) close(this.#lowRam - bytes, this.#lowRam);
    return ranges;
  }
}

/** Where `address` and `length` meet `ranges`, as offsets. */
export function overlaps(ranges: readonly Range[], address: number, length: number): readonly Range[] {
  const last = ranges.at(-1);
  const first = ranges[0];
  if (first === undefined || last === undefined) return NONE;
  if (address >= last.end || address + length <= first.start) return NONE;
  return ranges
    .map(({ start, end }) => ({
      start: Math.max(start - address, 0),
      end: Math.min(end - address, length),
    }))
    .filter(({ start, end }) => start < end);
}
